//! Tests of the local cloud: what a user of EC2 relies on, on boxes that really boot.

mod boxes;
mod ends;
mod images;
mod life;
mod metadata;
mod support;
