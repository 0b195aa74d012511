//! The networker component.
