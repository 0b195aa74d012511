//! The JSON of a profile, as it is written. Unknown keys are refused: a profile that asks for something must not lose it.

use serde::{Deserialize, Deserializer};

/// A whole profile: the keys of the OCI runtime specification, and those that Docker's and Podman's files have besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) default_action: String,
    pub(super) default_errno_ret: Option<u32>,
    pub(super) default_errno: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) architectures: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) arch_map: Vec<ArchitectureEntry>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) flags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) listener_path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) listener_metadata: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) syscalls: Vec<Entry>,
}

/// An architecture, and those whose programs its kernel runs too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ArchitectureEntry {
    pub(super) architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) sub_architectures: Vec<String>,
}

/// A rule for some calls.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) names: Vec<String>,
    pub(super) action: String,
    pub(super) errno_ret: Option<u32>,
    pub(super) errno: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) args: Vec<Argument>,
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) includes: Filter,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) excludes: Filter,
}

/// A comparison of an argument.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Argument {
    pub(super) index: u32,
    pub(super) value: u64,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) value_two: u64,
    pub(super) op: String,
}

/// Where a rule is for, or is not.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Filter {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) caps: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) arches: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) min_kernel: String,
}

/// `null` is the same as nothing: files written by Go programs are full of it.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(input: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}
