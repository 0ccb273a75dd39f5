//! `fleetkey doctor`: each line, when all is well and when it is not.

mod checks;
mod lines;
mod permissions;
