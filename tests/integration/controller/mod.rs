//! `fleetkey`, a verb at a time: the real program against moto.

mod boxes;
mod fleetkey;
mod images;
mod lifecycle;
mod list;
mod permissions;
mod register_key;
mod revoke_key;
mod staged;
