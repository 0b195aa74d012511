//! What containers without rules of their own may reach is the same whatever happened to the table, and whoever made it.

use std::collections::BTreeMap;

use engine_tests::host::{GREETING, Listener, Namespace};
use serde_json::Value;

use super::*;

/// Outside, and outside but denied.
const OPEN: &str = "192.0.2.1";
const DENIED: &str = "192.0.2.7";
/// The host.
const HOST: &str = "192.0.2.2";
const OPTIONS: [&str; 5] = ["--allow-host-access", "--dns-server", HOST, "--deny-network", DENIED];

/// Who reaches what, on port 80.
const REACHED: [(&str, &[(&str, bool)]); 3] = [
    ("hermetic", &[(OPEN, false), (DENIED, false), (HOST, false)]),
    ("plain", &[(OPEN, true), (DENIED, false), (HOST, true)]),
    ("ruled", &[(OPEN, true), (DENIED, false), (HOST, true)]),
];

/// Containers with and without rules of their own, and what they were allowed at first.
struct Scene {
    bed: Bed,
    pids: BTreeMap<&'static str, u32>,
    rules: BTreeMap<String, Vec<Value>>,
    _listeners: [Listener; 2],
}

impl Scene {
    fn set(options: &[&str]) -> Self {
        let bed = Bed::start_with(&[&OPTIONS[..], options].concat());
        let listeners = [bed.host.outside.listen(80), bed.host.inside.listen(80)];
        bed.engine.create(&["--handle", "hermetic", "--egress", "deny"]);
        bed.engine.create(&["--handle", "plain"]);
        bed.engine.create(&["--handle", "ruled", "--egress", "deny", "--allow", "tcp,to=192.0.2.1,ports=80"]);
        let pids = REACHED.map(|(handle, _)| (handle, bed.engine.init_pid(handle))).into_iter().collect();
        let mut scene = Scene { bed, pids, rules: BTreeMap::new(), _listeners: listeners };
        scene.rules = scene.rules();
        scene.as_at_first("at first");
        scene
    }

    /// The host's end of a container's link: four signs that all of the engine's have, and the container's id.
    fn link(&self, handle: &str) -> String {
        let told = self.bed.engine.inspect(handle);
        told["properties"]["garden.network.interface"].as_str().unwrap().to_owned()
    }

    /// Whether a process in the container's network reaches port 80 of an address, also while no server runs.
    fn reaches(&self, handle: &str, address: &str) -> bool {
        let mut connect = Namespace::command_in(self.pids[handle], "busybox");
        let said = connect.args(["nc", "-w", "1", address, "80"]).output().unwrap();
        String::from_utf8_lossy(&said.stdout).contains(GREETING)
    }

    fn reached_as_at_first(&self, when: &str) {
        for (handle, places) in REACHED {
            for (address, reached) in places {
                assert_eq!(self.reaches(handle, address), *reached, "{handle} to {address} {when}");
            }
        }
    }

    /// Everything is as it was.
    fn as_at_first(&self, when: &str) {
        assert_eq!(self.rules(), self.rules, "{when}");
        self.reached_as_at_first(when);
    }

    /// Tables, chains, sets and rules as the kernel has them, by what they belong to. Sets have no order, rules have.
    fn rules(&self) -> BTreeMap<String, Vec<Value>> {
        let told: Value = serde_json::from_str(&self.bed.host.inside.must("nft -j list ruleset")).unwrap();
        let mut rules: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for object in told["nftables"].as_array().unwrap() {
            let (kind, object) = object.as_object().unwrap().iter().next().unwrap();
            let name = if kind == "rule" { &object["chain"] } else { &object["name"] };
            let mut object = object.clone();
            // Numbers that the kernel gives in turn, and whose the table is at the moment.
            object
                .as_object_mut()
                .unwrap()
                .retain(|key, _| key != "handle" && (kind != "table" || key == "name"));
            if let Some(elements) = object.get_mut("elem") {
                elements.as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            if kind != "metainfo" {
                rules.entry(format!("{kind} {name}")).or_default().push(object);
            }
        }
        rules
    }
}

/// Killed servers and foreigners change nothing, hermetic containers and those that are merely without rules included.
#[test]
fn containers_without_rules_reach_the_same_after_a_kill_and_after_a_foreign_flush() {
    let mut scene = Scene::set(&["--network-pool", POOL, "--network-pool6", POOL6]);
    scene.bed.engine.kill_server();
    scene.reached_as_at_first("while no server runs");
    scene.bed.serve();
    scene.as_at_first("after a kill");
    scene.bed.host.inside.must("nft flush ruleset");
    until("the table to be whole", || scene.rules() == scene.rules);
    scene.as_at_first("after a foreign flush");
    scene.bed.engine.kill_server();
    scene.bed.host.inside.must("nft flush ruleset");
    assert!(scene.reaches("hermetic", HOST), "there are no rules now");
    scene.bed.serve();
    scene.as_at_first("after a foreign flush while no server ran");
    scene.bed.finish();
}

/// The table of an engine from before ADR 11, which had a chain for each container and no shared rules for those without rules
/// of their own, is filled anew by the next start.
#[test]
fn a_table_of_the_earlier_layout_is_filled_anew_by_the_next_start() {
    let mut scene = Scene::set(&["--network-pool", POOL]);
    let table = scene.bed.engine.mark();
    let links = REACHED.map(|(handle, _)| scene.link(handle));
    let [hermetic, plain, ruled] = links.each_ref().map(|link| link[4..].to_owned());
    let prefix = &links[0][..4];
    let refused = ["meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"];
    let opened = format!("ip daddr . meta l4proto . th dport @s4-{ruled}-0 accept");
    let chains = [
        (
            format!("c-{hermetic}"),
            vec!["oifname \"PREFIX*\" ip daddr 10.254.0.2 accept", refused[0], refused[1]],
        ),
        (
            format!("c-{plain}"),
            vec!["oifname \"PREFIX*\" ip daddr 10.254.0.4/30 accept", "goto unless_denied"],
        ),
        (
            format!("c-{ruled}"),
            vec!["oifname \"PREFIX*\" ip daddr 10.254.0.10 accept", &opened, refused[0], refused[1]],
        ),
    ];
    // Edited, not made: the table stays one that outlives its server.
    let mut earlier = format!("flush chain inet {table} from_container; flush map inet {table} owners\n");
    earlier += &format!("delete set inet {table} open; flush chain inet {table} c-{ruled}\n");
    for ((chain, rules), link) in chains.iter().zip(&links) {
        earlier += &format!("add chain inet {table} {chain}\n");
        for rule in ["ct state established,related accept"].iter().chain(rules) {
            earlier += &format!("add rule inet {table} {chain} {}\n", rule.replace("PREFIX", prefix));
        }
        earlier += &format!("add element inet {table} owners {{ {link} : goto {chain} }}\n");
    }
    for rule in ["ct state invalid drop", "iifname vmap @owners", "drop"] {
        earlier += &format!("add rule inet {table} from_container {rule}\n");
    }
    scene.bed.engine.kill_server();
    scene.bed.host.inside.must(&format!("nft -f - <<'END'\n{earlier}END"));
    let edited = scene.rules();
    assert!(!edited.contains_key("set \"open\"") && edited.contains_key(&format!("chain \"c-{plain}\"")));
    scene.reached_as_at_first("by the earlier layout");
    scene.bed.serve();
    scene.as_at_first("by what was filled anew");
    scene.bed.finish();
}
