//! What boxes are told, text for text.
