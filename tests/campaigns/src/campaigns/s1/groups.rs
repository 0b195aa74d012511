//! S1.17: names that would lead out of the engine's control groups.

use std::fs;
use std::path::{Path, PathBuf};

use gdn_proto::garden::garden_client::GardenClient;
use gdn_proto::garden::{ContainerSpec as Asked, CreateRequest, ImageRef as Image};
use gdn_types::{ContainerSpec, Handle, Limits, MemoryLimits};
use tonic::Code;
use tonic::transport::Endpoint;

use super::super::lab::{create_and_look, of, untouched};
use crate::{Bed, Stage, Verdict};

/// Names that are no handles, and some that look bad and are.
pub(super) fn names(stage: &mut Stage<'_>) {
    let long = "x".repeat(256);
    for name in ["..", "../../outside", "/sys/fs/cgroup/outside", "inside/../../../outside", &long] {
        stage.case(format!("{:?} as a handle", &name[..name.len().min(40)]), |bed| {
            let before = groups_outside();
            let refused = match create_unchecked(bed, name) {
                Err(Code::InvalidArgument) => Verdict::Held,
                other => Verdict::Escaped(format!("the answer was {other:?}")),
            };
            Verdict::all([refused, Verdict::equal(groups_outside(), before), untouched(bed)])
        });
    }
    for name in ["a..b", "system.slice:x@y", "0"] {
        stage.case(format!("{name:?} as a handle, with a limit"), |bed| {
            let limits = Limits { memory: MemoryLimits { bytes: 64 << 20 }, ..Limits::default() };
            let spec =
                ContainerSpec { handle: Some(Handle::parse(name).unwrap()), limits, ..of(bed.image()) };
            create_and_look(bed, spec, all_below_the_engine)
        });
    }
    stage.control("a group made by its name", |_| {
        let hierarchy = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let hierarchy = hierarchy.into_iter().find(|place| place.exists()).unwrap();
        let base = hierarchy.join("gdn-campaign");
        fs::create_dir_all(&base).unwrap();
        fs::create_dir_all(base.join("../outside")).unwrap();
        let seen = groups_outside();
        for group in [hierarchy.join("outside"), base] {
            fs::remove_dir(group).unwrap();
        }
        Verdict::held_unless(!seen.is_empty(), || format!("not below the engine's: {seen:?}"))
    });
}

/// Asks as a client would that checks nothing.
fn create_unchecked(bed: &Bed, handle: &str) -> Result<String, Code> {
    let address = format!("unix:{}", bed.engine().root().join("grpc.sock").display());
    let image = Some(Image { uri: bed.image().to_owned(), ..Image::default() });
    let spec = Some(Asked { handle: handle.to_owned(), image, ..Asked::default() });
    bed.engine().with_client(async |_| {
        let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
        let answer = GardenClient::new(channel).create(CreateRequest { spec }).await;
        answer.map(|answer| answer.into_inner().handle).map_err(|status| status.code())
    })
}

/// Groups in any hierarchy, beside the engine's, that have one of the names.
fn groups_outside() -> Vec<PathBuf> {
    let below = |path: &Path| {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let top = below(Path::new("/sys/fs/cgroup"));
    let groups = top.iter().flat_map(|hierarchy| below(hierarchy)).chain(top.clone());
    let stray = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name == "outside" || name.starts_with("xxx")
    };
    groups.filter(stray).collect()
}

/// Every group of its first process is below one with the engine's name.
fn all_below_the_engine(bed: &Bed, handle: &Handle) -> Verdict {
    let groups =
        fs::read_to_string(format!("/proc/{}/cgroup", bed.engine().init_pid(handle.as_str()))).unwrap();
    let mark = bed.engine().mark();
    let strays: Vec<_> = groups
        .lines()
        .filter(|line| !line.ends_with(":/") && (!line.contains(&mark) || line.contains("..")))
        .map(str::to_owned)
        .collect();
    Verdict::equal(strays, Vec::<String>::new())
}
