//! What is asked for that cannot be.

use anyhow::Result;

use super::setting::bare;

#[tokio::test]
async fn what_cannot_be_is_refused_before_aws_is_asked() -> Result<()> {
    let mut operator = bare().await?;
    // Nothing listens there: a call would be the error that is told.
    operator.go_through("http://127.0.0.1:9".to_owned());
    for (arguments, said) in [
        (&["init"][..], "setting up asks first, and there is no terminal to ask on"),
        (&["init", "--yes", "--regions", "US"], "--regions \"US\" is not a valid region name"),
        (&["init", "--yes", "--regions", "us-west-2,,eu-west-1"], "--regions \"\" is not a valid region name"),
        (&["init", "--yes", "--drop-region", "x/y"], "--drop-region \"x/y\" is not a valid region name"),
        (&["init", "--yes", "--drop-region", "us-west-2"], "us-west-2 is both to be set up and to be dropped"),
        (&["init", "--yes", "--for", "everybody"], "invalid value 'everybody'"),
        (&["init", "--yes", "--for", "administrators"], "invalid value 'administrators' for '--for <WHO>'"),
        (&["init", "--yes", "--no-policies", "--drop-region", "eu-west-1"], "cannot be used with"),
        (&["init", "--yes", "--for", "agents", "--no-policies"], "cannot be used with"),
        (&["init", "--print", "pulumi"], "invalid value 'pulumi'"),
        (&["init", "--print", "terraform", "--yes"], "cannot be used with"),
        (&["init", "--print", "terraform", "--adopt"], "cannot be used with"),
        (&["init", "--yes", "--bucket", "A"], "--bucket \"A\" is not a valid bucket name"),
        (&["init", "--yes", "--topic", "a b"], "--topic \"a b\" is not a valid topic name"),
    ] {
        let ran = operator.run(arguments).await?.ended(2);
        assert!(ran.stderr.contains(said) && ran.stdout.is_empty(), "{arguments:?}: {}", ran.stderr);
    }
    let ran = operator.run_with(&["init", "--dry-run"], &[]).await?.ended(2);
    assert!(ran.stderr.contains("error: no AWS region is known"), "{}", ran.stderr);
    let ran = operator.run(&["init", "--dry-run"]).await?.ended(1);
    assert!(ran.stderr.contains("error: AWS does not say who is calling: sts GetCallerIdentity"), "{}", ran.stderr);
    Ok(())
}
