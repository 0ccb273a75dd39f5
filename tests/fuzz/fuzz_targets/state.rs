//! State files: no bytes make the reader panic, and what is read is written and read again as the same.
#![no_main]

use std::sync::LazyLock;

use fleetkey_agent::instance::HostIdentity;
use fleetkey_agent::state::State;
use fleetkey_common::error_text::one_line;
use libfuzzer_sys::fuzz_target;

static HOST: LazyLock<HostIdentity> = LazyLock::new(|| HostIdentity {
    instance_id: Some("i-1".to_owned()),
    product_uuid: None,
    machine_id: Some("m".to_owned()),
});

fuzz_target!(|bytes: &[u8]| {
    match State::parse(bytes, &HOST) {
        Ok(state) => {
            let again = State::parse(&state.to_bytes(), &HOST).expect("what is written can be read");
            assert_eq!(state, again);
        }
        Err(error) => assert!(!one_line(&error).contains('\n'), "a message of more than one line"),
    }
});
