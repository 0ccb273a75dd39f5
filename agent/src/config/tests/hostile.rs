//! What nobody writes by mistake: bytes that are no configuration, and text meant to do harm where it is printed.

use std::path::Path;

use clap::{Args, Command};
use proptest::prelude::*;

use super::super::{Flags, interpret, schema};
use super::{problems, with_flags};

#[test]
fn t5_what_a_file_says_is_never_printed_raw() {
    let text =
        "\"so\\nurce\\u001b[2J\" = 1\nsource = \"a\\r\\nb\"\n[[grant]]\naccount = \"a\\nb\"\nkeys = [\"\\u0000\"]";
    let told = problems(text, &[]);
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
}

#[test]
fn t10_no_flag_has_an_environment_variable_behind_it() {
    let help = Flags::augment_args(Command::new("run")).render_long_help().to_string();
    assert!(help.contains("--endpoint-url") && !help.contains("[env"), "{help}");
}

#[test]
fn deep_nesting_is_an_error_and_not_the_end_of_the_agent() {
    for nested in ["[", "{a=", "a.", "[["] {
        assert!(with_flags(&format!("x = {}", nested.repeat(100_000)), &[]).is_err());
    }
}

/// Text that looks like a configuration, so that more than the TOML reader is tried.
fn like_a_configuration() -> impl Strategy<Value = String> {
    let name = prop::sample::select(schema::FIELDS.iter().map(|field| field.name).collect::<Vec<_>>());
    let table = prop::sample::select(vec!["", "[[grant]]", "[grant]", "[guard]", "[push]", "[aws]", "[paths]"]);
    let value = prop_oneof![
        4 => "\"[^\\p{C}\"\\\\]{0,12}\"",
        4 => "[0-9]{0,20}(%|s|m|h|days)?".prop_map(|text| format!("{text:?}")),
        4 => "https?://[\\[\\]a:/.@0-9]{0,12}".prop_map(|text| format!("{text:?}")),
        1 => "[a-z0-9.\\-\\[\\]{}=,'\"]{0,12}",
    ];
    let line = (table, name, value).prop_map(|(table, name, value)| format!("{table}\n{name} = {value}\n"));
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = interpret(Path::new("f"), &bytes, &Flags::default());
    }

    #[test]
    fn no_configuration_makes_it_panic_and_each_problem_is_one_line(
        text in like_a_configuration(),
        grant: String,
        url in "https?://[\\[\\]a:/.@0-9]{0,12}",
    ) {
        let flags = Flags { grant: vec![grant], endpoint_url: Some(url), ..Flags::default() };
        if let Err(problems) = interpret(Path::new("f"), text.as_bytes(), &flags) {
            prop_assert_eq!(problems.to_string().lines().count(), problems.iter().count());
        }
    }
}
