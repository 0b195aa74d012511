//! What a campaign is played on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use engine_tests::host::Host;
use engine_tests::{Engine, binary, images, until};
use gdn_types::{ContainerSpec, Handle, ImageRef};

use crate::stage::message;
use crate::{Bare, Canary, Inside, probe};

/// An engine with a server, an image of busybox and the probe, and a canary.
pub struct Bed {
    engine: Engine,
    image: String,
    rootfs: PathBuf,
    canary: Canary,
    program: String,
    decoys: u32,
    options: Vec<String>,
    // Dropped last: what a failed row leaves is swept in the host's namespace.
    host: Option<Host>,
}

impl Bed {
    /// Starts an engine.
    ///
    /// # Panics
    /// When anything of it fails.
    pub fn start() -> Self {
        Bed::with_options(&[])
    }

    /// The same with options of the server.
    pub fn with_options(options: &[&str]) -> Self {
        Bed::on(None, options)
    }

    /// With network namespaces for the server and for an outside.
    pub fn networked(options: &[&str]) -> Self {
        Bed::on(Some(Host::new()), options)
    }

    fn on(host: Option<Host>, options: &[&str]) -> Self {
        let mut engine = Engine::new();
        match &host {
            Some(host) => engine.start_server_in(&host.inside, options),
            None => engine.start_server(options),
        }
        let rootfs = engine.scratch().join("probe");
        let image = engine.image_with("probe", add_probe);
        let canary = Canary::plant(&engine.scratch().join("canary"));
        let options = options.iter().map(ToString::to_string).collect();
        Bed { engine, image, rootfs, canary, program: program(), decoys: 0, options, host }
    }

    /// The namespaces of a networked bed.
    ///
    /// # Panics
    /// When it is none.
    pub fn host(&self) -> &Host {
        self.host.as_ref().expect("the bed is a networked one")
    }

    /// Starts the server again, which was stopped or killed.
    pub fn serve(&mut self) {
        let options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        match &self.host {
            Some(host) => self.engine.start_server_in(&host.inside, &options),
            None => self.engine.start_server(&options),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, to be restarted.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The URI of the image of busybox and the probe.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// The same image with changes, as another URI; its directory is `scratch/NAME`.
    pub fn image_with(&self, name: &str, change: impl FnOnce(&Path)) -> String {
        self.engine.image_with(name, |rootfs| {
            add_probe(rootfs);
            change(rootfs);
        })
    }

    /// The directory the image was made of, for weak targets.
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Files of the host.
    pub fn canary(&self) -> &Canary {
        &self.canary
    }

    /// A canary of a control, which may be harmed.
    pub fn decoy(&mut self) -> Canary {
        self.decoys += 1;
        Canary::plant(&self.engine.scratch().join(format!("decoy-{}", self.decoys)))
    }

    /// Creates a container, of the bed's image unless the spec names one.
    #[track_caller]
    pub fn create(&self, mut spec: ContainerSpec) -> Handle {
        if spec.image.uri.is_empty() {
            spec.image = ImageRef::uri(self.image());
        }
        self.engine.create_from(spec)
    }

    /// A container of the engine as a target.
    pub fn inside(&self, handle: &Handle) -> Inside<'_> {
        Inside::new(&self.engine, handle)
    }

    /// Creates a container and removes it after the work.
    #[track_caller]
    pub fn in_container<T>(&self, spec: ContainerSpec, work: impl FnOnce(&Inside<'_>) -> T) -> T {
        let handle = self.create(spec);
        let worked = work(&self.inside(&handle));
        self.engine.gdn(["destroy", handle.as_str()]).expect_status(0);
        worked
    }

    /// The weak target, on the directory of the bed's image.
    pub fn bare(&self) -> Bare {
        Bare::new(&self.rootfs)
    }

    /// What must be so after each row and is not. Containers that the row left are removed.
    pub(crate) fn faults(&mut self) -> Vec<String> {
        let mut faults = self.canary.changes();
        if program() != self.program {
            faults.push("the binary of the engine has changed".into());
        }
        let clear = catch_unwind(AssertUnwindSafe(|| {
            assert!(self.engine.server_runs(), "the server has ended: {}", self.engine.log());
            self.engine.gdn(["ping"]).expect_status(0);
            let handles = self.engine.handles();
            if !handles.is_empty() {
                let words = ["destroy"].into_iter().chain(handles.iter().map(String::as_str));
                self.engine.gdn(words).expect_status(0);
            }
        }));
        faults.extend(clear.err().map(|panic| message(&*panic)));
        faults
    }

    /// Stops the engine, and tells what it left on the host.
    pub(crate) fn finish(self) -> Option<String> {
        // The host stays until the engine is gone.
        let Bed { engine, host, .. } = self;
        let finish = || {
            // A server that stops leaves what it could not delete in time to the next one.
            let trash = engine.root().join("trash");
            until("the files of containers to be deleted", || fs::read_dir(&trash).unwrap().next().is_none());
            engine.finish();
            if let Some(host) = &host {
                assert_eq!(host.inside.must("nft list tables"), "", "tables are left");
            }
        };
        catch_unwind(AssertUnwindSafe(finish)).err().map(|panic| message(&*panic))
    }
}

fn add_probe(rootfs: &Path) {
    let target = rootfs.join("bin/probe");
    fs::copy(probe(), &target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The hash of the binary under test.
fn program() -> String {
    images::sha256(&fs::read(binary()).unwrap())
}
