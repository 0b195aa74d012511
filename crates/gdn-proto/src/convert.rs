//! Messages of the wire from and to words of the engine, by `From` and `TryFrom`.
//!
//! Server and client share these: what one side sends, the other reads back equal. Parsing a request fails with
//! `InvalidArgument`; parsing an answer, which only another version of the engine can get wrong, with `Internal`.

mod container;
mod event;
mod info;
mod limits;
mod metrics;
mod network;
mod process;

use std::collections::HashMap;
use std::time::Duration;

use gdn_types::{Error, Properties, Result};

/// A duration in whole nanoseconds; 584 years and more become 584 years.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Checked properties of a map.
///
/// # Errors
/// As [`Properties::set`].
pub fn properties(map: HashMap<String, String>) -> Result<Properties> {
    Properties::from_pairs(map)
}

/// The map of checked properties.
pub fn property_map(properties: &Properties) -> HashMap<String, String> {
    properties.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// All of a list, in memory of the right size from the beginning: lists of rules have thousands of items, with lists in them.
///
/// # Errors
/// Those of the first item that has one.
pub fn all<T, U: TryFrom<T>>(items: Vec<T>) -> Result<Vec<U>, U::Error> {
    let mut converted = Vec::with_capacity(items.len());
    for item in items {
        converted.push(item.try_into()?);
    }
    Ok(converted)
}

/// The enum value of a number, or `InvalidArgument` naming the field.
fn enumeration<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E> {
    E::try_from(number).map_err(|_| Error::invalid(format!("{field} has the unknown value {number}")))
}

/// A 16-bit number of a 32-bit field.
fn narrow(field: &str, number: u32) -> Result<u16> {
    u16::try_from(number).map_err(|_| Error::invalid(format!("{field} {number} is larger than 65535")))
}

/// An 8-bit number of a 32-bit field.
fn octet(field: &str, number: u32) -> Result<u8> {
    u8::try_from(number).map_err(|_| Error::invalid(format!("{field} {number} is larger than 255")))
}

/// What only an answer can lack.
fn missing(what: &str) -> Error {
    Error::internal(format!("the server's answer lacks {what}"))
}

/// A message only where there is something to say.
fn unless_default<T: Default + PartialEq, M: From<T>>(value: T) -> Option<M> {
    (value != T::default()).then(|| value.into())
}
