//! `fleetkey`, a verb at a time: the real program against moto, and where it logs in somewhere, a real sshd.

mod agent_packages;
mod box_at_hand;
mod boxes;
mod create;
mod fleetkey;
mod images;
mod lifecycle;
mod list;
mod permissions;
mod reach;
mod register_key;
mod revoke_key;
mod role_boxes;
mod roles;
mod rsync;
mod ssh;
mod staged;
