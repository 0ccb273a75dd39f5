//! `fleetkey register-key` and `revoke-key`: the real program against moto.

mod fleetkey;
mod permissions;
mod register_key;
mod revoke_key;
