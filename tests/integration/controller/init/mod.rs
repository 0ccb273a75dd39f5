//! `fleetkey init`: an account set up, held in step, and printed for other tools.

mod convergence;
mod faults;
mod input;
mod permissions;
mod printed;
mod setting;
