//! `fleetkey cleanup`, the real program against moto: what of each kind is swept, and each reason for which it is not.

mod bucket;
mod course;
mod ec2;
mod faults;
mod ground;
mod permissions;
mod profiles;
mod queues;
