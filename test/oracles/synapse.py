"""Answers questions about rooms with the modules of an installed Synapse: one JSON object a line, on stdin and stdout.

Synapse is under the AGPL: it is imported by tests only, from its own package, and is no part of the product.

`protocol.ts` says what is asked and what is answered. Every request is answered; an exception is an answer too.
"""

import json
import logging
import sys

# First, since the modules of state resolution import it while it imports them.
import synapse.event_auth as event_auth
from canonicaljson import encode_canonical_json
from synapse.api.errors import SynapseError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS, StateResolutionVersions
from synapse.crypto.event_signing import compute_content_hash, compute_event_reference_hash
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event, validate_canonicaljson
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference
from unpaddedbase64 import encode_base64

import hashlib


def main():
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        print(json.dumps(answer(line)), flush=True)


def answer(line):
    try:
        request = json.loads(line)
    except ValueError as error:
        return {"error": f"not JSON: {error}"}
    try:
        result = OPERATIONS[request["op"]](request)
    except Exception as error:
        result = {"error": crash(error)}
    return {"id": request.get("id"), **result}


def answer_canonical(request):
    """The canonical JSON of a text, or why it has none in room versions that are strict about it."""
    try:
        value = json.loads(request["text"], parse_constant=refuse_constant)
        validate_canonicaljson(value)
    except (SynapseError, ValueError) as error:
        return {"refused": str(error)}
    return {"canonical": encode_canonical_json(value).decode()}


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def answer_room(request):
    room = Room(request)
    states = [room.state_of(ids) for ids in request["states"]]
    return {
        "events": [room.judge(asked, states) for asked in request["events"]],
        "resolved": room.resolve(states),
    }


OPERATIONS = {"canonical": answer_canonical, "room": answer_room}


class Room:
    """The events of a request, as a store that state resolution and authorisation may ask."""

    def __init__(self, request):
        self.version = KNOWN_ROOM_VERSIONS[request["version"]]
        # By the id that the asker gave; the reason instead of an event that could not be read.
        self.events = {}
        self.unreadable = {}
        for asked in request["events"]:
            rejected = "rejected" if asked["rejected"] else None
            try:
                event = make_event_from_dict(asked["pdu"], self.version, rejected_reason=rejected)
                self.events[asked["event_id"]] = event
            except Exception as error:
                self.unreadable[asked["event_id"]] = crash(error)

    def state_of(self, ids):
        events = [self.events[event_id] for event_id in ids]
        return {(event.type, event.state_key): event.event_id for event in events}

    def judge(self, asked, states):
        event_id = asked["event_id"]
        if event_id in self.unreadable:
            reason = f"unreadable: {self.unreadable[event_id]}"
            return {
                "facts": {"unreadable": self.unreadable[event_id]},
                "independent": reason,
                "dependent": reason,
                "in_states": [reason for _ in states],
            }
        event = self.events[event_id]
        return {
            "facts": self.facts(asked["pdu"], event),
            "independent": verdict(lambda: run(event_auth.check_state_independent_auth_rules(self, event))),
            "dependent": verdict(lambda: self.check_against_auth_events(event)),
            "in_states": [verdict(lambda state=state: self.check_in_state(event, state)) for state in states],
        }

    def facts(self, pdu, event):
        bare = {key: value for key, value in pdu.items() if key != "unsigned"}
        return {
            "event_id": event.event_id,
            "content_hash": encode_base64(compute_content_hash(pdu, hashlib.sha256)[1]),
            "reference_hash": encode_base64(compute_event_reference_hash(event)[1]),
            "redacted": encode_canonical_json(without_unsigned(prune_event(event).get_pdu_json())).decode(),
            "canonical": encode_canonical_json(bare).decode(),
        }

    def check_against_auth_events(self, event):
        # In versions whose auth events must not name the create event, Synapse names it here all the same.
        auth_events = [self.events[event_id] for event_id in event.auth_event_ids() if event_id in self.events]
        event_auth.check_state_dependent_auth_rules(event, [e for e in auth_events if e.is_state()])

    def check_in_state(self, event, state):
        keys = event_auth.auth_types_for_event(self.version, event)
        event_auth.check_state_dependent_auth_rules(
            event, [self.events[state[key]] for key in keys if key in state]
        )

    def resolve(self, states):
        if not states:
            return []
        create = next(event for event in self.events.values() if event.type == "m.room.create")
        try:
            if self.version.state_res == StateResolutionVersions.V1:
                resolved = run(
                    v1.resolve_events_with_store(
                        create.room_id, self.version, states, None, lambda ids: self.get_events(ids)
                    )
                )
            else:
                resolved = run(
                    v2.resolve_events_with_store(Clock(), create.room_id, self.version, states, None, self)
                )
        except Exception as error:
            return {"error": crash(error)}
        return sorted(resolved.values())

    async def get_events(self, event_ids, redact_behaviour=None, get_prev_content=False, allow_rejected=True):
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}

    async def get_auth_chain_difference(self, room_id, state_sets, conflicted_state, additional):
        """ "The auth difference is ∪ C_i − ∩ C_i." As in Synapse's own stores, C_i has the events of S_i too. """
        chains = [state.union(*(self.auth_chain(event_id) for event_id in state)) for state in state_sets]
        difference = set.union(*chains) - set.intersection(*chains)
        subgraph = None if conflicted_state is None else self.subgraph(conflicted_state)
        return StateDifference(difference, subgraph)

    def subgraph(self, conflicted):
        """ "The union of all such paths between any pair of events in the conflicted state set." """
        above = set().union(*(self.auth_chain(event_id) for event_id in conflicted)) | conflicted
        return {
            event_id
            for event_id in above
            if event_id in conflicted or not conflicted.isdisjoint(self.auth_chain(event_id))
        }

    def auth_chain(self, event_id):
        reached = set()
        waiting = [event_id]
        while waiting:
            for auth_event_id in self.events[waiting.pop()].auth_event_ids():
                if auth_event_id in self.events and auth_event_id not in reached:
                    reached.add(auth_event_id)
                    waiting.append(auth_event_id)
        return reached


class Clock:
    """State resolution sleeps now and then, to let others work: here is nobody else."""

    async def sleep(self, duration):
        pass


def without_unsigned(pdu):
    return {key: value for key, value in pdu.items() if key != "unsigned"}


def verdict(check):
    """None for an event that is allowed, else why it is not."""
    try:
        check()
    except SynapseError as error:
        return error.msg
    except Exception as error:
        return crash(error)
    return None


def crash(error):
    return f"crashed: {type(error).__name__}: {error}"


def run(coroutine):
    """Runs a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("the coroutine waits for something")


main()
