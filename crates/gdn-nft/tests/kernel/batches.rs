//! Transactions: all or nothing, errors, ownership.

use gdn_nft::{
    Batch, Chain, ChainType, Error, Family, Features, Hook, Policy, Rule, Set, Socket, Table, iifname,
};
use rustix::io::Errno;

use crate::ground::{attempt, in_own_network, run, socket, table, until};

#[test]
fn a_batch_whose_last_operation_fails_changes_nothing() {
    in_own_network(|| {
        let table = table();
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table).add_chain(&table, &Chain::new("c")).delete_chain(&table, "not-there");
        let error = socket.commit(&batch).unwrap_err();
        let Error::Refused { operation, errno, .. } = &error else { panic!("{error:?}") };
        assert_eq!((operation.as_str(), *errno), ("delete chain not-there in inet t", Errno::NOENT));
        assert_eq!(run("nft list ruleset"), "");
        let mut batch = Batch::new();
        batch.add_table(&table);
        socket.commit(&batch).unwrap();
        assert_eq!(run("nft list ruleset"), "table inet t {\n}\n");
    });
}

#[test]
fn the_first_of_many_refused_operations_is_told() {
    in_own_network(|| {
        let table = table();
        let mut batch = Batch::new();
        batch.add_table(&table);
        for index in 0..20_000 {
            batch.delete_chain(&table, &format!("c{index}"));
        }
        let mut socket = socket();
        let error = socket.commit(&batch).unwrap_err();
        assert!(error.to_string().starts_with("delete chain c0 in inet t"), "{error}");
        let mut batch = Batch::new();
        batch.add_table(&table);
        socket.commit(&batch).unwrap();
    });
}

#[test]
fn a_name_that_cannot_be_is_an_error_before_anything_is_sent() {
    in_own_network(|| {
        let table = table();
        let mut socket = socket();
        let mut batch = Batch::new();
        batch.add_table(&table).add_rule(&table, &Rule::new("c").matches(iifname("sixteen-bytes-xx")).drop());
        let error = socket.commit(&batch).unwrap_err();
        assert_eq!(error.to_string(), r#"invalid interface name "sixteen-bytes-xx""#);
        assert_eq!(run("nft list ruleset"), "");
        let mut batch = Batch::new();
        batch.add_table(&Table::new(Family::Inet, "a b"));
        assert!(matches!(socket.commit(&batch), Err(Error::Name { what: "table", .. })));
    });
}

#[test]
fn what_was_added_is_listed_and_deleted_piece_by_piece() {
    in_own_network(|| {
        let table = table();
        let mut socket = socket();
        let mut batch = Batch::new();
        batch
            .add_table(&table)
            .add_chain(&table, &Chain::base("in", ChainType::Filter, Hook::Input, -10).policy(Policy::Drop))
            .add_chain(&table, &Chain::new("c"))
            .add_set(&table, &Set::new("s", [gdn_nft::Field::Port]))
            .add_rule(&table, &Rule::new("c").accept().comment("second"))
            .add_rule(&table, &Rule::new("c").drop())
            .insert_rule(&table, &Rule::new("c").return_().comment("first"))
            .add_rule(&table, &Rule::new("in").jump("c"));
        socket.commit(&batch).unwrap();
        run("nft add table ip t");
        run("nft add chain ip t foreign");

        let tables = socket.tables(Some("t")).unwrap();
        assert_eq!(tables.iter().map(|table| table.family).collect::<Vec<_>>(), [Family::Inet, Family::Ip]);
        let chains = socket.chains(Some(&table)).unwrap();
        assert_eq!(chains.iter().map(|chain| chain.name.as_str()).collect::<Vec<_>>(), ["in", "c"]);
        let base = chains[0].base.as_ref().unwrap();
        assert_eq!((base.kind, base.hook), (Some(ChainType::Filter), Some(Hook::Input)));
        assert_eq!((base.priority, base.policy), (-10, Policy::Drop));
        assert_eq!(chains[1].base, None);
        assert_eq!(socket.chains(None).unwrap().len(), 3);
        let rules = socket.rules(&table, "c").unwrap();
        let comments: Vec<_> = rules.iter().map(|rule| rule.comment.as_deref()).collect();
        assert_eq!(comments, [Some("first"), Some("second"), None]);

        let before = socket.generation().unwrap();
        let mut batch = Batch::new();
        batch.delete_rule(&table, "c", rules[1].handle);
        socket.commit(&batch).unwrap();
        assert_eq!(socket.rules(&table, "c").unwrap().len(), 2);
        let mut batch = Batch::new();
        batch.only_in_generation(before).delete_set(&table, "s");
        assert_eq!(socket.commit(&batch).unwrap_err().errno().unwrap().raw_os_error(), 85);
        let mut batch = Batch::new();
        let now = socket.generation().unwrap();
        batch.only_in_generation(now).delete_set(&table, "s").flush_table(&table).delete_chain(&table, "c");
        socket.commit(&batch).unwrap();
        assert_eq!(socket.sets(&table).unwrap(), [""; 0]);
        assert_eq!(socket.chains(Some(&table)).unwrap().len(), 1);
        let mut batch = Batch::new();
        batch.delete_table(&table);
        socket.commit(&batch).unwrap();
        assert_eq!(socket.tables(None).unwrap().len(), 1);
    });
}

#[test]
fn a_table_that_is_owned_and_persistent_outlives_a_flush_and_its_owner() {
    in_own_network(|| {
        let table = table().owned().persistent();
        let mut batch = Batch::new();
        batch.add_table(&table).add_chain(&table, &Chain::new("c"));
        let mut owner = socket();
        owner.commit(&batch).unwrap();
        let listed = owner.tables(None).unwrap();
        assert!(listed[0].owned && listed[0].persistent && listed[0].owner.is_some());

        run("nft flush ruleset");
        assert_eq!(owner.chains(Some(&table)).unwrap().len(), 1);
        let (fine, said) = attempt("nft delete table inet t");
        assert!(!fine && said.contains("not permitted"), "{said}");
        let mut other = socket();
        assert_eq!(other.commit(&batch).unwrap_err().errno(), Some(Errno::PERM));

        drop(owner);
        until("the owner is gone", || !other.tables(None).unwrap()[0].owned);
        assert!(other.tables(None).unwrap()[0].persistent);
        other.commit(&batch).unwrap();
        assert!(other.tables(None).unwrap()[0].owned);
        run("nft flush ruleset");
        assert_eq!(other.chains(Some(&table)).unwrap().len(), 1);
    });
}

#[test]
fn an_owned_table_goes_with_its_socket() {
    in_own_network(|| {
        let mut batch = Batch::new();
        batch.add_table(&table().owned());
        let mut owner = socket();
        owner.commit(&batch).unwrap();
        drop(owner);
        until("the owner is gone", || socket().tables(None).unwrap().is_empty());
    });
}

#[test]
fn this_kernel_is_asked_what_it_can_without_a_change() {
    in_own_network(|| {
        let mut socket = Socket::open().unwrap();
        let before = socket.generation().unwrap();
        assert_eq!(socket.features().unwrap(), Features { inet: true, owner: true, persist: true });
        assert_eq!(socket.tables(None).unwrap(), []);
        assert_eq!(socket.generation().unwrap(), before);
    });
}
