//! The agent's stages, each a module: see the design for the line that they form.

pub mod write;
