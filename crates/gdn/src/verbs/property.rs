//! `gdn property`: the key-value pairs of a container.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::{Args, Subcommand};
use gdn_types::Handle;
use serde::Serialize;

use super::DONE;
use crate::address;
use crate::cli::Global;
use crate::output::container::property_map;
use crate::output::{self, Show};

/// Show and change the properties of a container.
#[derive(Debug, Args)]
pub(crate) struct Property {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print one property
    Get {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
        /// Name of the property
        key: String,
    },
    /// Set a property
    Set {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
        /// Name of the property
        key: String,
        /// Its new value
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Remove a property
    Rm {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
        /// Name of the property
        key: String,
    },
    /// Print all properties
    List {
        /// Container
        #[arg(value_parser = Handle::parse)]
        handle: Handle,
    },
}

#[derive(Debug, Serialize)]
struct Value {
    value: String,
}

impl Show for Value {
    fn text(&self) -> String {
        // An empty value is a line, too.
        format!("{}\n", self.value)
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct All(BTreeMap<String, String>);

impl Show for All {
    fn text(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }
}

impl Property {
    pub(crate) async fn perform(self, global: &Global) -> anyhow::Result<u8> {
        let client = address::connect(global).await?;
        match self.action {
            Action::Get { handle, key } => {
                let value = client.property(&handle, &key).await;
                let value = value.with_context(|| format!("cannot get property {key:?} of \"{handle}\""))?;
                output::show(global.format, &Value { value })?;
            }
            Action::Set { handle, key, value } => {
                let set = client.set_property(&handle, &key, &value).await;
                set.with_context(|| format!("cannot set property {key:?} of \"{handle}\""))?;
            }
            Action::Rm { handle, key } => {
                let removed = client.remove_property(&handle, &key).await;
                removed.with_context(|| format!("cannot remove property {key:?} of \"{handle}\""))?;
            }
            Action::List { handle } => {
                let all = client.properties(&handle).await;
                let all = all.with_context(|| format!("cannot list the properties of \"{handle}\""))?;
                output::show(global.format, &All(property_map(&all)))?;
            }
        }
        Ok(DONE)
    }
}
