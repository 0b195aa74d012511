use std::ffi::OsString;
use std::time::Duration;

use clap::CommandFactory;

use super::{Cli, Command, parse, runs_a_process};
use crate::verbs::run::Run;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(Into::into).collect()
}

fn run(line: &str) -> Run {
    match parse(words(line)).unwrap_or_else(|error| panic!("{line}: {error}")).command {
        Command::Run(run) => run,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn run_tells_images_from_commands() {
    let cases: [(&str, Option<&str>, &[&str]); 13] = [
        ("gdn run", None, &[]),
        ("gdn run hello", Some("hello"), &[]),
        ("gdn run -- hello", None, &["hello"]),
        ("gdn run -- -x", None, &["-x"]),
        ("gdn run --rm -i hello", Some("hello"), &[]),
        ("gdn run x.tar ls -l", Some("x.tar"), &["ls", "-l"]),
        ("gdn run x.tar -- ls -l", Some("x.tar"), &["ls", "-l"]),
        ("gdn run x.tar sh -c -i", Some("x.tar"), &["sh", "-c", "-i"]),
        ("gdn run -- ls -- x", None, &["ls", "--", "x"]),
        ("gdn run --image x.tar -- ls", Some("x.tar"), &["ls"]),
        ("gdn run --image x.tar ls -l", Some("x.tar"), &["ls", "-l"]),
        ("gdn run x.tar ls -- -a", Some("x.tar"), &["ls", "--", "-a"]),
        ("gdn run --handle h --memory 64M --env A=b x.tar", Some("x.tar"), &[]),
    ];
    for (line, image, command) in cases {
        let run = run(line);
        let (got_image, got_command) = run.image_and_command();
        assert_eq!(
            (got_image, got_command),
            (image, &command.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{line}"
        );
    }
}

#[test]
fn a_container_without_a_name_is_removed_at_the_end() {
    for (line, removes) in [
        ("gdn run hello", true),
        ("gdn run --rm hello", true),
        ("gdn run --keep hello", false),
        ("gdn run --handle h hello", false),
        ("gdn run --handle h --rm hello", true),
    ] {
        assert_eq!(run(line).removes(), removes, "{line}");
    }
    assert!(parse(words("gdn run --rm --keep hello")).is_err());
}

#[test]
fn options_reach_the_container() {
    let run = run(
        "gdn run -it --user 1:2 --dir /w --memory 64M --cpu-weight 10 --pids 5 --disk 1G --privileged --network none \
                   --publish 8080:80 --bind /a:/b:rw --property k=v --env A=b --grace-time 5m hello",
    );
    assert!(run.streams.interactive && run.streams.tty);
    assert_eq!(run.user.user.as_deref(), Some("1:2"));
    assert_eq!(run.user.dir.as_deref(), Some("/w"));
    let spec = run.container.spec().unwrap();
    assert_eq!(spec.limits.memory.bytes, 64 << 20);
    assert_eq!(spec.grace_time, Some(Duration::from_secs(300)));
    assert!(spec.privileged && spec.bind_mounts.len() == 1 && spec.netin.len() == 1);
    assert_eq!(spec.properties.get("k"), Some("v"));
}

#[test]
fn exec_takes_its_command_with_and_without_a_separator() {
    for line in ["gdn exec h ls -l", "gdn exec h -- ls -l", "gdn exec -i -u root h ls -l"] {
        match parse(words(line)).unwrap().command {
            Command::Exec(exec) => {
                assert_eq!((exec.handle.as_str(), exec.command), ("h", vec!["ls".into(), "-l".into()]))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_verb_takes_an_address_and_a_format() {
    for verb in [
        "create",
        "run hello",
        "exec h ls",
        "attach h p",
        "list -q --all --property k=v",
        "ls",
        "inspect h",
        "stop --kill h",
        "kill -s TERM h p",
        "destroy h",
        "rm a b",
        "cp h:/x -",
        "property get h k",
        "property set h k v",
        "property rm h k",
        "property list h",
        "capacity",
        "ping",
        "events",
        "events h",
        "doctor",
        "setup --no-group --systemd-unit --replace",
        "setup --systemd-unit=/x",
        "cleanup --timeout 5s --network-pool 10.0.0.0/24",
    ] {
        let (name, rest) = verb.split_once(' ').unwrap_or((verb, ""));
        for line in [
            format!("gdn --address /s --format json {verb}"),
            format!("gdn {name} --address /s --format json {rest}"),
        ] {
            let cli = parse(words(&line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(cli.global.address.as_deref(), Some("/s"), "{line}");
        }
    }
}

#[test]
fn the_server_has_its_own_options() {
    let cli = parse(words(
        "gdn server --root /r --grpc-socket /s --max-containers 5 --default-grace-time 1h --log-format json",
    ))
    .unwrap();
    assert_eq!(cli.global.root(), std::path::Path::new("/r"));
    match cli.command {
        Command::Server(server) => {
            assert_eq!(server.grpc_socket.as_deref(), Some(std::path::Path::new("/s")));
            assert_eq!(server.max_containers, 5);
            assert_eq!(server.default_grace_time, Duration::from_secs(3600));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_command_lines_are_refused() {
    for line in [
        "gdn",
        "gdn frobnicate",
        "gdn exec",
        "gdn exec h --bad ls",
        "gdn run --bad",
        "gdn run --image x -l",
        "gdn inspect",
        "gdn kill",
        "gdn kill -s NOPE h",
        "gdn destroy",
        "gdn cp x",
        "gdn create --memory 1Q",
        "gdn create --handle ../x",
        "gdn create --property k",
        "gdn list --format yaml",
        "gdn server --address /s",
        "gdn server --grpc-listen 127.0.0.1:1",
        "gdn server --tls-cert /c",
        "gdn property get h",
        "gdn setup --replace",
        "gdn setup --systemd-unit /x",
        "gdn cleanup --timeout soon",
        "gdn list --config /x",
    ] {
        assert!(parse(words(line)).is_err(), "{line}");
    }
}

#[test]
fn errors_name_the_value_that_is_wrong() {
    let error = parse(words("gdn create --memory 1Q")).unwrap_err().to_string();
    assert!(error.contains("1Q") && error.contains("64M"), "{error}");
}

#[test]
fn lines_that_were_meant_to_run_a_process_are_known() {
    for (line, runs) in [
        ("gdn run --bad", true),
        ("gdn --format nope exec h ls", true),
        ("gdn list --bad", false),
        ("gdn", false),
        ("gdn property run", false),
    ] {
        assert_eq!(runs_a_process(&words(line)), runs, "{line}");
    }
}

#[test]
fn help_is_a_command_too() {
    for line in ["gdn help", "gdn help run", "gdn --help"] {
        let error = parse(words(line)).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{line}");
    }
}
