"""A bot of matrix-nio with encryption: joins where it is invited, and answers what is asked there."""

import asyncio
import sys

from nio import AsyncClient, AsyncClientConfig, InviteMemberEvent, MegolmEvent, RoomMessageText


async def main(homeserver: str, user: str, password: str, store: str) -> None:
    config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
    client = AsyncClient(homeserver, user, store_path=store, config=config)

    async def say(room_id: str, body: str) -> None:
        content = {"msgtype": "m.text", "body": body}
        await client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)

    async def invited(room, event) -> None:
        if event.state_key == user:
            await client.join(room.room_id)

    async def heard(room, event) -> None:
        if event.sender != user and event.body.startswith("all: "):
            await say(room.room_id, f"nio heard: {event.body[5:]}")
        elif event.sender != user and event.body.startswith("nio, say "):
            await say(room.room_id, event.body[9:])

    async def unreadable(room, event) -> None:
        print(f"cannot read {event.event_id} of {event.sender}", flush=True)

    await client.login(password, device_name="nio")
    # What was said before it came is not for it.
    await client.sync(timeout=0, full_state=True)
    client.add_event_callback(invited, InviteMemberEvent)
    client.add_event_callback(heard, RoomMessageText)
    client.add_event_callback(unreadable, MegolmEvent)
    print("ready", flush=True)
    await client.sync_forever(timeout=10000)


asyncio.run(main(*sys.argv[1:]))
