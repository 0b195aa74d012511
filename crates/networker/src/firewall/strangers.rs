//! Chains of others that would drop what our own lets pass.
//!
//! Every chain of a hook has its say: an accept in ours does not overrule a drop in another. Where somebody else's chain of
//! the forward hook drops by policy (Docker's and many a distribution's firewall do), two rules that match our links alone
//! are put at its head. What containers may reach was decided by our chain, which comes first.

use gdn_nft::{
    Batch, ChainInfo, ChainType, Family, Hook, Policy, Result, Rule, Socket, Table, iifname_begins,
    oifname_begins,
};

/// How many rules stand at the head of such a chain.
const RULES: usize = 2;

/// Sees to it that chains of others let pass what is ours. `mark` is the comment of the rules put there; a chain that has
/// them at its head is left alone.
pub(super) fn let_pass(socket: &mut Socket, ours: &Table, prefix: &str, mark: &str) -> Result<()> {
    for chain in socket.chains(None)? {
        if !drops_forwarded(&chain) || (chain.family == ours.family() && chain.table == ours.name()) {
            continue;
        }
        let table = Table::new(chain.family, &chain.table);
        let rules = socket.rules(&table, &chain.name)?;
        let is_ours = |comment: &Option<String>| comment.as_deref() == Some(mark);
        let at_head = rules.iter().take_while(|rule| is_ours(&rule.comment)).count();
        let all = rules.iter().filter(|rule| is_ours(&rule.comment)).count();
        if at_head == RULES && all == RULES {
            continue;
        }
        let mut batch = Batch::new();
        for rule in rules.iter().filter(|rule| is_ours(&rule.comment)) {
            batch.delete_rule(&table, &chain.name, rule.handle);
        }
        for condition in [oifname_begins(prefix), iifname_begins(prefix)] {
            batch.insert_rule(&table, &Rule::new(&chain.name).matches(condition).accept().comment(mark));
        }
        match socket.commit(&batch) {
            Ok(()) => {
                tracing::info!(
                    table = chain.table,
                    chain = chain.name,
                    "the chain drops by policy; it lets our links pass now"
                );
            }
            // Its owner keeps it for itself, or has just taken it away.
            Err(error) => {
                tracing::warn!(table = chain.table, chain = chain.name, %error, "the chain drops by policy and cannot be changed: containers reach nobody");
            }
        }
    }
    Ok(())
}

/// Takes the rules out of the chains of others again.
pub(super) fn withdraw(socket: &mut Socket, mark: &str) -> Result<()> {
    for chain in socket.chains(None)?.into_iter().filter(is_of_forward) {
        let table = Table::new(chain.family, &chain.table);
        let rules = socket.rules(&table, &chain.name)?;
        let ours = rules.iter().filter(|rule| rule.comment.as_deref() == Some(mark));
        let mut batch = Batch::new();
        for rule in ours {
            batch.delete_rule(&table, &chain.name, rule.handle);
        }
        if !batch.is_empty() {
            socket.commit(&batch)?;
        }
    }
    Ok(())
}

fn drops_forwarded(chain: &ChainInfo) -> bool {
    is_of_forward(chain) && chain.base.as_ref().is_some_and(|base| base.policy == Policy::Drop)
}

fn is_of_forward(chain: &ChainInfo) -> bool {
    let of_ip = matches!(chain.family, Family::Inet | Family::Ip | Family::Ip6);
    let base = chain.base.as_ref();
    of_ip && base.is_some_and(|base| base.hook == Some(Hook::Forward) && base.kind == Some(ChainType::Filter))
}
