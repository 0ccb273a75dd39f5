//! `fleetkey create` and `recreate`, the real program against moto: what is made, what bad input gets, what is left
//! after an error or an interruption. Nothing boots here, so that no test waits for a login.

mod again;
mod autostop;
mod convergence;
mod course;
pub(super) mod ground;
mod images;
mod in_step;
mod input;
mod permissions;
mod printed;
mod spot;
mod volumes;
