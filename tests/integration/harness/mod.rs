//! Tests of the harness itself: each part works, and nothing of it is left behind.

mod boxes;
mod cloud;
mod servers;
