"""What moto gets wrong in a way that the AWS SDK for Rust does not forgive, put right. Python itself loads this when
moto_server starts (`tests/src/moto.rs`)."""

from moto.s3.responses import S3Response


def versioning_configuration(answer):
    """moto names the root element after the operation, S3 otherwise.
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html"""

    def corrected(self):
        status, headers, body = answer(self)
        wrong, right = "GetBucketVersioningResponse", "VersioningConfiguration"
        if isinstance(body, bytes):
            wrong, right = wrong.encode(), right.encode()
        return status, headers, body.replace(wrong, right)

    return corrected


S3Response.get_bucket_versioning = versioning_configuration(S3Response.get_bucket_versioning)
