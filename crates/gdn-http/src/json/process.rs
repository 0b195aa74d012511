//! What a process is asked for with.

use gdn_types::{
    Environment, Error, ErrorKind, ImageRef, OutputPolicy, ProcessId, ProcessSpec, Result, Rlimits,
    WindowSize,
};

use super::container::{bind_mount, cpu_limits, image_ref, memory_limits};
use super::fields::Fields;

/// Garden: `ProcessSpec`.
pub(crate) fn process_spec(mut wire: Fields) -> Result<ProcessSpec> {
    let id = wire.string("id")?;
    let image = image_ref(wire.object("image")?)?;
    let limits = wire.optional_object("limits")?.map(|mut limits| {
        Ok((cpu_limits(limits.object("cpu_limits")?)?, memory_limits(limits.object("memory_limits")?)?))
    });
    let path = wire.string("path")?;
    if path.is_empty() {
        // Elsewhere that is the image's own command, which clients of this protocol do not know of.
        let message = "exec: \"\": executable file not found in $PATH";
        return Err(Error::new(ErrorKind::ExecutableNotFound, message));
    }
    Ok(ProcessSpec {
        id: if id.is_empty() { None } else { Some(ProcessId::parse(&id)?) },
        path,
        args: wire.strings("args")?,
        env: Environment::parse(wire.strings("env")?)?,
        dir: wire.string("dir")?,
        user: wire.string("user")?,
        rlimits: rlimits(wire.object("rlimits")?)?,
        tty: wire.optional_object("tty")?.map(window_size).transpose()?,
        image: (image != ImageRef::default()).then_some(image),
        bind_mounts: wire.objects("bind_mounts", bind_mount)?,
        limits: limits.transpose()?,
        // Clients come back after a restart and cannot name a byte.
        output: OutputPolicy::Hold,
        ..ProcessSpec::default()
    })
}

/// Garden: `TTYSpec`.
pub(crate) fn window_size(mut wire: Fields) -> Result<WindowSize> {
    let mut size = wire.object("window_size")?;
    Ok(WindowSize { columns: size.number("columns")?, rows: size.number("rows")? })
}

/// Garden: `ResourceLimits`.
fn rlimits(mut wire: Fields) -> Result<Rlimits> {
    Ok(Rlimits {
        address_space: wire.optional_number("as")?,
        core: wire.optional_number("core")?,
        cpu: wire.optional_number("cpu")?,
        data: wire.optional_number("data")?,
        fsize: wire.optional_number("fsize")?,
        locks: wire.optional_number("locks")?,
        memlock: wire.optional_number("memlock")?,
        msgqueue: wire.optional_number("msgqueue")?,
        nice: wire.optional_number("nice")?,
        nofile: wire.optional_number("nofile")?,
        nproc: wire.optional_number("nproc")?,
        rss: wire.optional_number("rss")?,
        rtprio: wire.optional_number("rtprio")?,
        sigpending: wire.optional_number("sigpending")?,
        stack: wire.optional_number("stack")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<ProcessSpec> {
        process_spec(Fields::parse(text.as_bytes())?)
    }

    #[test]
    fn a_process_of_the_go_client_is_read() {
        let spec = spec(
            r#"{"id":"p","path":"sh","args":["-c","x"],"env":["A=1"],"dir":"/d","user":"alice",
            "rlimits":{"nofile":1024,"as":0},"tty":{"window_size":{"columns":100,"rows":40}},"image":{}}"#,
        )
        .unwrap();
        assert_eq!(spec.id.unwrap().as_str(), "p");
        assert_eq!((&*spec.path, &*spec.dir, &*spec.user), ("sh", "/d", "alice"));
        assert_eq!(spec.args, ["-c", "x"]);
        assert_eq!(
            (spec.rlimits.nofile, spec.rlimits.address_space, spec.rlimits.core),
            (Some(1024), Some(0), None)
        );
        assert_eq!(spec.tty, Some(WindowSize { columns: 100, rows: 40 }));
        assert!(spec.image.is_none() && spec.limits.is_none());
    }

    #[test]
    fn limits_that_are_there_and_empty_are_not_absent_ones() {
        let spec = |more: &str| spec(&format!(r#"{{"path":"sh",{more}}}"#)).unwrap();
        assert!(spec(r#""limits":{}"#).limits.is_some());
        assert!(spec(r#""limits":null"#).limits.is_none());
        assert_eq!(spec(r#""tty":{}"#).tty, Some(WindowSize::default()));
        assert_eq!(spec(r#""image":{"uri":"/x"}"#).image.unwrap().uri, "/x");
    }

    #[test]
    fn without_a_program_there_is_none_to_be_found() {
        assert_eq!(spec("{}").unwrap_err().kind(), ErrorKind::ExecutableNotFound);
    }
}
