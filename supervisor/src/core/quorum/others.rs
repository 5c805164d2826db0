//! What other nodes say, and what they are answered: who is a member, whom this node vouches for, and what it grants.

use ordu_transport::core::{NodeId, NodeName, Now, Status};
use rand::RngExt;

use super::grants::Answered;
use super::words::{Terms, Word};
use super::{Votes, say};
use crate::core::supervisor::Supervisor;
use crate::core::words::Effect;

impl Supervisor {
    pub(in crate::core) fn on_word(&mut self, now: Now, from: &NodeId, word: Word, effects: &mut Vec<Effect>) {
        let jitter = self.votes.as_ref().map(|_| self.rng.random::<f64>()).unwrap_or_default();
        // Who needs no quorum vouches for nobody.
        if self.votes.is_none() {
            return;
        }
        match word {
            Word::Beat { life, number, terms, members } => {
                let answer = if !self.has_terms(from, terms) {
                    None
                } else if self.admit(from, members) {
                    self.vouch(now, from, life, number)
                } else {
                    self.note_odds(now, &from.name, effects);
                    self.votes.as_ref().map(|votes| Word::Full { members: votes.members() })
                };
                answer.into_iter().for_each(|answer| say(vec![from.clone()], answer, effects));
            }
            Word::Vouch { life, epoch, number, is_first, members } => {
                if self.admit(from, members)
                    && let Some(votes) = &mut self.votes
                {
                    votes.is_first(&from.name, life);
                    votes.meet(now, &from.name, is_first);
                    if votes.leases.vouched(number, from, life, epoch) {
                        votes.leases.ask_again(now.at, true);
                    }
                }
                self.look_at_power(now, effects);
            }
            Word::Full { members } => {
                if !members.contains(&self.id().name) {
                    self.note_odds(now, &from.name, effects);
                }
                let Some(votes) = self.votes.as_mut().filter(|votes| !votes.is_left_out) else { return };
                votes.is_left_out = true;
                let (most, members) = (votes.config.members_max(), names(&members));
                tracing::error!(by = %from, %members, most, "the cluster has all the members that its quorum allows; \
                    remove one that will not return, or start every node with a larger quorum");
            }
            Word::Ask { life, number, children } => {
                let Some(votes) = &mut self.votes else { return };
                let Some(epoch) = votes.grants.epoch_of(life) else { return };
                let Answered { yes, no, held } = votes.grants.ask(now.at, life, number, children);
                say(vec![from.clone()], Word::Grant { life: votes.life, epoch, number, yes, no }, effects);
                for (to, children) in held.into_iter().filter(|(to, _)| to != from) {
                    say(vec![to], Word::Held { children }, effects);
                }
            }
            Word::Grant { life, epoch, number, yes, no } => {
                let Some(votes) = &mut self.votes else { return };
                let (changed, unwanted) = votes.leases.answered(from, (life, epoch, number), yes, no);
                votes.releases.extend(unwanted);
                self.look_at_words(now, changed.into_iter(), jitter);
            }
            Word::Release { life, number, children } => {
                if let Some(votes) = &mut self.votes {
                    votes.grants.release(life, number, &children);
                }
            }
            Word::Held { children } => {
                if let Some(votes) = &mut self.votes {
                    votes.releases.extend(children.into_iter().filter(|id| !votes.leases.wants(id)));
                }
            }
        }
    }

    /// Whether another goes by the rules that this node goes by.
    fn has_terms(&mut self, from: &NodeId, theirs: Terms) -> bool {
        let Some(votes) = &mut self.votes else { return false };
        let ours = votes.config.terms();
        if theirs != ours && votes.is_told_of_terms != Some(theirs) {
            votes.is_told_of_terms = Some(theirs);
            tracing::error!(by = %from, ?theirs, ?ours, "another quorum, grace or stop timeout is asked for there: neither \
                vouches for the other; start all nodes with the same");
        }
        theirs == ours
    }

    /// A member says whom it knows as members. Whether it is one of ours: together there must not be too many.
    fn admit(&mut self, from: &NodeId, theirs: Vec<NodeName>) -> bool {
        let view = self.registry.view();
        let Some(votes) = &mut self.votes else { return false };
        let has_left = |name: &NodeName| view.get(name).is_some_and(|member| member.status == Status::Left);
        let mut members = votes.members.clone();
        members.extend(theirs.into_iter().filter(|name| !has_left(name)));
        members.insert(from.name.clone());
        if members.len() > votes.config.members_max() {
            return false;
        }
        (votes.members, votes.is_left_out) = (members, false);
        votes.at_odds.remove(&from.name);
        votes.leaving.remove(&from.name);
        true
    }

    /// A member does not take this node for one, or has others for members than fit with ours.
    fn note_odds(&mut self, now: Now, name: &NodeName, effects: &mut Vec<Effect>) {
        let Some(votes) = self.votes.as_mut().filter(|votes| votes.members.contains(name)) else { return };
        if votes.at_odds.insert(name.clone()) {
            let most = votes.config.members_max();
            tracing::error!(by = %name, most, "there are more members than the quorum allows, and they do not agree who is \
                one: this node runs nothing until they do; stop those that are too many");
        }
        self.look_at_power(now, effects);
    }

    fn vouch(&mut self, now: Now, from: &NodeId, life: u64, number: u64) -> Option<Word> {
        let votes = self.votes.as_mut().filter(|votes| votes.at_odds.is_empty())?;
        let epoch = votes.grants.vouch(now.at, life, from)?;
        let is_first = votes.is_first(&from.name, life);
        Some(Word::Vouch { life: votes.life, epoch, number, is_first, members: votes.members() })
    }

    /// A member has left, or was removed.
    pub(in crate::core) fn forget_voter(&mut self, now: Now, name: &NodeName) {
        let own = self.id().name.clone();
        if let Some(votes) = self.votes.as_mut().filter(|votes| *name != own && votes.members.contains(name)) {
            votes.leaving.insert(name.clone(), now.at + votes.config.void_after());
            votes.strangers.remove(name);
            votes.at_odds.remove(name);
            votes.leases.forget(name);
        }
    }
}

impl Votes {
    /// Whether this life of a member is the first that we know.
    fn is_first(&mut self, name: &NodeName, life: u64) -> bool {
        let known = self.lives.entry(name.clone()).or_insert((life, true));
        if known.0 != life {
            *known = (life, false);
        }
        known.1
    }

    /// A member knows an earlier life of ours, or none. Once none of all that there may be does, nothing can run by what
    /// such a life granted: who began anew himself runs nothing from before either.
    fn meet(&mut self, now: Now, name: &NodeName, is_first: bool) {
        if is_first {
            self.strangers.insert(name.clone());
        } else {
            self.strangers.remove(name);
        }
        if self.strangers.len() + 1 >= self.config.members_max() {
            self.grants.begin(now.at);
        }
    }
}

fn names(members: &[NodeName]) -> String {
    members.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}
