//! The configuration as operators write it, right and wrong.
