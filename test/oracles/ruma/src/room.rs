//! The verdicts on the events of a room, and the resolution of states of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ruma_common::{
    EventId, OwnedEventId, RoomVersionId,
    room_version_rules::{AuthorizationRules, RoomVersionRules, StateResolutionV2Rules},
};
use ruma_events::{StateEventType, TimelineEventType};
use ruma_state_res::{
    Event, StateMap, check_state_dependent_auth_rules, check_state_independent_auth_rules, resolve,
    utils::event_id_set::EventIdSet,
};
use serde_json::{Value, json};

use crate::{
    event::{OracleEvent, facts},
    guarded,
};

type Shared = Arc<OracleEvent>;

struct Room {
    rules: RoomVersionRules,
    events: HashMap<OwnedEventId, Shared>,
}

pub(crate) fn answer(request: &Value) -> Result<Value, String> {
    let version = request["version"].as_str().unwrap_or_default();
    let rules = RoomVersionId::try_from(version)
        .ok()
        .and_then(|id| id.rules())
        .ok_or("this room version is not known")?;
    let asked = list(&request["events"]);
    let read: Vec<Result<Shared, String>> = asked
        .iter()
        .map(|event| guarded(|| OracleEvent::read(event)).map(Arc::new))
        .collect();
    let events = read.iter().flatten().map(|event| (event.event_id().clone(), event.clone()));
    let room = Room { rules, events: events.collect() };

    let states: Vec<StateMap<OwnedEventId>> =
        list(&request["states"]).iter().map(|ids| room.state_of(ids)).collect();
    let judged: Vec<Value> = asked
        .iter()
        .zip(&read)
        .map(|(asked, event)| {
            json!({
                "facts": facts(&asked["pdu"], &room.rules),
                "independent": verdict(event, |event| room.independent(event)),
                "dependent": verdict(event, |event| room.against_auth_events(event)),
                "in_states": states
                    .iter()
                    .map(|state| verdict(event, |event| room.against_state(event, state)))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let resolved = match room.rules.state_res.v2_rules().map(|v2| guarded(|| room.resolve(v2, &states))) {
        Some(Ok(ids)) => json!(ids),
        Some(Err(reason)) => json!({ "error": reason }),
        // Version 1, which the crate does not have.
        None => Value::Null,
    };
    Ok(json!({ "events": judged, "resolved": resolved }))
}

/// Null for an event that is allowed, else why it is not.
fn verdict(
    event: &Result<Shared, String>,
    ask: impl FnOnce(&Shared) -> Result<(), String>,
) -> Value {
    let result = match event {
        Ok(event) => guarded(|| ask(event)),
        Err(reason) => Err(format!("unreadable: {reason}")),
    };
    result.err().map_or(Value::Null, Value::String)
}

impl Room {
    fn authorization(&self) -> &AuthorizationRules {
        &self.rules.authorization
    }

    fn event(&self, id: &EventId) -> Option<Shared> {
        self.events.get(id).cloned()
    }

    fn state_of(&self, ids: &Value) -> StateMap<OwnedEventId> {
        let ids = list(ids).iter().filter_map(Value::as_str);
        ids.filter_map(|id| self.event(<&EventId>::try_from(id).ok()?))
            .filter_map(|event| Some((key_of(&event)?, event.event_id().clone())))
            .collect()
    }

    fn independent(&self, event: &Shared) -> Result<(), String> {
        check_state_independent_auth_rules(self.authorization(), event, |id| self.event(id))
    }

    /// The state that the auth events make and, where they must not name it, the create event.
    fn against_auth_events(&self, event: &Shared) -> Result<(), String> {
        let mut state: StateMap<OwnedEventId> = event
            .auth_events()
            .filter_map(|id| self.event(id))
            .filter_map(|event| Some((key_of(&event)?, event.event_id().clone())))
            .collect();
        if self.authorization().room_create_event_id_as_room_id {
            let create = event.room_id().and_then(|room| {
                EventId::parse(format!("${}", room.strip_sigil())).ok()
            });
            if let Some(create) = create.filter(|id| self.events.contains_key(id)) {
                state.insert((StateEventType::RoomCreate, String::new()), create);
            }
        }
        self.against_state(event, &state)
    }

    fn against_state(&self, event: &Shared, state: &StateMap<OwnedEventId>) -> Result<(), String> {
        check_state_dependent_auth_rules(self.authorization(), event, |kind, state_key| {
            self.event(state.get(&(kind.clone(), state_key.to_owned()))?)
        })
    }

    /// The full auth chain of a state is given with the events of the state, as the crate's own tests do.
    fn resolve(
        &self,
        v2: &StateResolutionV2Rules,
        states: &[StateMap<OwnedEventId>],
    ) -> Result<Vec<OwnedEventId>, String> {
        let chains = states
            .iter()
            .map(|state| {
                let chains = state.values().flat_map(|id| self.auth_chain(id));
                chains.chain(state.values().cloned()).collect()
            })
            .collect::<Vec<EventIdSet<OwnedEventId>>>();
        let resolved = resolve(
            self.authorization(),
            v2,
            states,
            chains,
            |id| self.event(id),
            |conflicted| Some(self.subgraph(conflicted.values().flatten())),
        );
        let mut ids: Vec<_> = resolved.map_err(|error| error.to_string())?.into_values().collect();
        ids.sort();
        Ok(ids)
    }

    /// "The auth chain of an event E is the set containing all of E's auth events, all of their auth events, and
    /// so on recursively."
    fn auth_chain(&self, id: &EventId) -> HashSet<OwnedEventId> {
        let mut reached = HashSet::new();
        let mut waiting = vec![id.to_owned()];
        while let Some(event) = waiting.pop().and_then(|id| self.event(&id)) {
            for auth_event in event.auth_events() {
                if self.events.contains_key(auth_event) && reached.insert(auth_event.clone()) {
                    waiting.push(auth_event.clone());
                }
            }
        }
        reached
    }

    /// "Starting from an event in the conflicted state set and following auth_events edges may lead to another
    /// event in the conflicted state set. The union of all such paths between any pair of events in the conflicted
    /// state set (including endpoints) forms a subgraph of the original auth_event graph, called the conflicted
    /// state subgraph."
    fn subgraph<'a>(
        &self,
        conflicted: impl Iterator<Item = &'a OwnedEventId>,
    ) -> EventIdSet<OwnedEventId> {
        let ends: HashSet<&OwnedEventId> = conflicted.collect();
        let above = ends.iter().flat_map(|id| self.auth_chain(id)).collect::<HashSet<_>>();
        let between = above.into_iter().filter(|id| {
            ends.contains(id) || self.auth_chain(id).iter().any(|upper| ends.contains(upper))
        });
        between.chain(ends.iter().map(|&id| id.clone())).collect()
    }
}

fn key_of(event: &OracleEvent) -> Option<(StateEventType, String)> {
    Some((state_type(event.event_type()), event.state_key()?.to_owned()))
}

fn state_type(kind: &TimelineEventType) -> StateEventType {
    StateEventType::from(kind.to_string())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
