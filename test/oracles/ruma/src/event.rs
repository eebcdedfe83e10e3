//! An event as the crates want it, and what they compute of it.

use ruma_common::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId,
    UserId,
    canonical_json::{redact, try_from_json_map},
    exports::serde::de::DeserializeOwned,
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
};
use ruma_events::TimelineEventType;
use ruma_signatures::{content_hash, reference_hash};
use ruma_state_res::Event;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use crate::guarded;

/// An event with the id that the asker gave it.
pub(crate) struct OracleEvent {
    id: OwnedEventId,
    room_id: Option<OwnedRoomId>,
    sender: OwnedUserId,
    ts: MilliSecondsSinceUnixEpoch,
    kind: TimelineEventType,
    state_key: Option<String>,
    content: Box<RawValue>,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    redacts: Option<OwnedEventId>,
    rejected: bool,
}

impl OracleEvent {
    pub(crate) fn read(asked: &Value) -> Result<Self, String> {
        let pdu = &asked["pdu"];
        Ok(Self {
            id: parsed(&asked["event_id"])?,
            room_id: optional(&pdu["room_id"])?,
            sender: parsed(&pdu["sender"])?,
            ts: parsed(&pdu["origin_server_ts"])?,
            kind: parsed(&pdu["type"])?,
            state_key: optional(&pdu["state_key"])?,
            content: to_raw_value(&pdu["content"]).map_err(|error| error.to_string())?,
            prev_events: references(&pdu["prev_events"])?,
            auth_events: references(&pdu["auth_events"])?,
            redacts: optional(&pdu["redacts"]).unwrap_or(None),
            rejected: asked["rejected"] == Value::Bool(true),
        })
    }
}

impl Event for OracleEvent {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.room_id.as_deref()
    }

    fn sender(&self) -> &UserId {
        &self.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.kind
    }

    fn content(&self) -> &RawValue {
        &self.content
    }

    fn state_key(&self) -> Option<&str> {
        self.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// The id, the hashes, the redacted form and the canonical JSON of a PDU; an error stands in place of each.
pub(crate) fn facts(pdu: &Value, rules: &RoomVersionRules) -> Value {
    let object = match object_of(pdu) {
        Ok(object) => object,
        Err(reason) => return json!({ "unreadable": reason }),
    };
    let reference = guarded(|| reference_hash(&object, rules).map_err(|error| error.to_string()));
    let event_id = match rules.event_id_format {
        EventIdFormatVersion::V1 => Ok(pdu["event_id"].as_str().unwrap_or_default().to_owned()),
        _ => reference.clone().map(|hash| format!("${hash}")),
    };
    let content = guarded(|| content_hash(&object).map_err(|error| error.to_string()));
    let redacted = guarded(|| {
        redact(object.clone(), &rules.redaction, None).map_err(|error| error.to_string())
    });
    json!({
        "event_id": text(event_id),
        "reference_hash": text(reference),
        "content_hash": text(content.map(|hash| hash.encode())),
        "redacted": text(redacted.and_then(|object| written(&object))),
        "canonical": text(written(&object)),
    })
}

fn object_of(pdu: &Value) -> Result<CanonicalJsonObject, String> {
    let map = pdu.as_object().ok_or("not an object")?;
    try_from_json_map(map.clone()).map_err(|error| error.to_string())
}

fn written(object: &CanonicalJsonObject) -> Result<String, String> {
    serde_json::to_string(object).map_err(|error| error.to_string())
}

fn text(result: Result<String, String>) -> Value {
    match result {
        Ok(text) => Value::String(text),
        Err(reason) => json!({ "error": reason }),
    }
}

fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

fn optional<T: DeserializeOwned>(value: &Value) -> Result<Option<T>, String> {
    if value.is_null() { Ok(None) } else { parsed(value).map(Some) }
}

/// A list of event ids or, in versions 1 and 2, of pairs that begin with one.
fn references(list: &Value) -> Result<Vec<OwnedEventId>, String> {
    let items = list.as_array().ok_or("not a list of event references")?;
    items.iter().map(|item| parsed(if item.is_array() { &item[0] } else { item })).collect()
}
