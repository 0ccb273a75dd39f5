//! Lines of `authorized_keys`: no bytes make a reader panic, and whatever can be handed out is found again.
#![no_main]

use std::sync::LazyLock;

use fleetkey_common::error_text::one_line;
use fleetkey_common::key_line::{Line, read, registered};
use fleetkey_common::public_key::PublicKey;
use fleetkey_common::restrictions::AllowedOptions;
use libfuzzer_sys::fuzz_target;

static ALLOWED: LazyLock<AllowedOptions> = LazyLock::new(AllowedOptions::default);

fn found(line: &[u8]) -> Option<PublicKey> {
    match read(line) {
        Line::Key { key, .. } => Some(key),
        _ => None,
    }
}

fuzz_target!(|body: &[u8]| {
    let lenient: Vec<PublicKey> = body.split(|&byte| byte == b'\n').filter_map(found).collect();
    for result in registered(body, &ALLOWED) {
        match result {
            Ok(accepted) => {
                assert!(lenient.contains(&accepted.key), "what is taken from a registry is not found in a file");
                let options = accepted.restrictions.to_options(&jiff::tz::TimeZone::UTC, true);
                let blank = if options.is_empty() { "" } else { " " };
                let written = format!("{options}{blank}{}", accepted.key);
                assert_eq!(found(written.as_bytes()), Some(accepted.key), "what is written is not found again");
            }
            Err(error) => assert!(!one_line(&error).contains('\n'), "a message of more than one line"),
        }
    }
});
