//! `fleetkey`: the real program against moto, and where it logs in somewhere, a real sshd.

mod box_at_hand;
mod create;
mod fleetkey;
mod permissions;
mod register_key;
mod revoke_key;
mod rsync;
mod ssh;
