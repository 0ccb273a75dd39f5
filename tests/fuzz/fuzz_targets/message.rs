//! Bodies of SQS messages: no text makes the reader panic, and nothing but the known message is taken for one.
#![no_main]

use fleetkey_common::error_text::one_line;
use fleetkey_common::message::{Message, encode, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    match parse(body) {
        Ok(message) => {
            assert_eq!(message, Message::KeysChanged);
            assert!(matches!(parse(&encode(message)), Ok(again) if again == message));
        }
        Err(error) => assert!(!one_line(&error).contains('\n'), "a message of more than one line"),
    }
});
