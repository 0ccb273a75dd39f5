//! The ways to a box: by name, over other machines, through tunnels, and from which addresses.

mod hops;
mod refresh_ingress;
mod ssh_config;
mod ways;
