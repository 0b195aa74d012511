//! Properties and the grace time of a container.

use std::time::Duration;

use gdn_types::{Error, ErrorKind, Handle, Properties, Result, keys};

use crate::Gardener;
use crate::lookup::visible_properties;

/// Properties that are the engine's own word: a client that changed one would change what others believe.
const ENGINES_OWN: [&str; 9] = [
    keys::STATE,
    keys::GRACE_TIME,
    keys::MAPPED_PORTS,
    keys::CONTAINER_IP,
    keys::CONTAINER_IPV6,
    keys::HOST_IP,
    keys::EXTERNAL_IP,
    keys::INTERFACE,
    keys::EGRESS,
];

impl Gardener {
    /// All properties of a container, the engine's own included.
    ///
    /// # Errors
    /// `ContainerNotFound`.
    pub fn properties(&self, handle: &Handle) -> Result<Properties> {
        let (container, _hold) = self.hold(handle)?;
        self.record(&container).map(visible_properties)
    }

    /// One property.
    ///
    /// # Errors
    /// `ContainerNotFound`; `PropertyNotFound`.
    pub fn property(&self, handle: &Handle, key: &str) -> Result<String> {
        let (container, _hold) = self.hold(handle)?;
        if key != keys::GRACE_TIME {
            return self.components.properties.get(handle, key);
        }
        let properties = self.record(&container).map(visible_properties)?;
        let missing = || Error::new(ErrorKind::PropertyNotFound, format!("property does not exist: {key}"));
        properties.get(key).map(str::to_owned).ok_or_else(missing)
    }

    /// Sets a property, durably.
    ///
    /// # Errors
    /// `ContainerNotFound`; `InvalidArgument` for one of the engine's own keys, or a bound that is broken.
    pub async fn set_property(&self, handle: &Handle, key: &str, value: &str) -> Result<()> {
        let (_container, _hold) = self.hold(handle)?;
        refuse_engines_own(key)?;
        self.faults.caught("properties.set", self.components.properties.set(handle, key, value)).await
    }

    /// Removes a property, durably.
    ///
    /// # Errors
    /// `ContainerNotFound`; `PropertyNotFound`; `InvalidArgument` for one of the engine's own keys.
    pub async fn remove_property(&self, handle: &Handle, key: &str) -> Result<()> {
        let (_container, _hold) = self.hold(handle)?;
        refuse_engines_own(key)?;
        self.faults.caught("properties.remove", self.components.properties.remove(handle, key)).await
    }

    /// Changes the grace time, durably, and starts the countdown from its full value; zero means for ever.
    ///
    /// # Errors
    /// `ContainerNotFound`.
    pub async fn set_grace_time(&self, handle: &Handle, grace_time: Duration) -> Result<()> {
        let container = self.find(handle)?;
        let set = self.components.properties.set_grace_time(handle, grace_time);
        self.faults.caught("properties.set_grace_time", set).await?;
        let mut status = container.status();
        // Of two changes at once the one that was written last counts, whichever comes here first.
        status.countdown.grace_time = self.record(&container)?.grace_time;
        self.clock.wind(handle, &mut status);
        Ok(())
    }
}

fn refuse_engines_own(key: &str) -> Result<()> {
    if ENGINES_OWN.contains(&key) {
        return Err(Error::invalid(format!("property {key:?} is the engine's own")));
    }
    Ok(())
}
