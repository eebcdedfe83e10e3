"""A bridge of mautrix with encryption, as its bridges run it: the keys come with the transactions, nobody syncs.

Joins where its bot or a ghost is invited. What people say in an encrypted room it says again, encrypted, by its bot.
"""

import asyncio
import logging
import os
import sys
import traceback
from types import SimpleNamespace

from mautrix.appservice import AppService
from mautrix.appservice.state_store.asyncpg import PgASStateStore
from mautrix.bridge.e2ee import EncryptionManager
from mautrix.errors import DecryptionError
from mautrix.types import EventType, Membership, MessageType, TextMessageEventContent
from mautrix.util.async_db import Database

PREFIX = "@_bridge_"

ENCRYPTION = {
    "appservice": True,
    "msc4190": True,
    "self_sign": False,
    "allow_key_sharing": False,
    "delete_keys": None,
    "verification_levels": {"receive": "unverified", "send": "unverified", "share": "unverified"},
    "rotation.disable_device_change_key_rotation": False,
}
CONFIG = {f"bridge.encryption.{key}": value for key, value in ENCRYPTION.items()}


async def main(homeserver, domain, port, as_token, hs_token, folder) -> None:
    database = Database.create(f"sqlite:{folder}/bridge.db", upgrade_table=PgASStateStore.upgrade_table)
    await database.start()
    # By this name its key manager looks for the rooms of a bridge.
    await database.execute("CREATE TABLE IF NOT EXISTS portal (mxid TEXT PRIMARY KEY, encrypted BOOLEAN)")
    store = PgASStateStore(database)
    service = AppService(
        server=homeserver,
        domain=domain,
        id="bridge",
        as_token=as_token,
        hs_token=hs_token,
        bot_localpart="_bridge_bot",
        ephemeral_events=True,
        encryption_events=True,
        state_store=store,
    )

    async def portal(room_id):
        return SimpleNamespace(encrypted=await store.is_encrypted(room_id))

    bridge = SimpleNamespace(
        loop=asyncio.get_running_loop(), az=service, name="bridge", config=CONFIG, state_store=store, get_portal=portal
    )
    keys = EncryptionManager(bridge, homeserver, PREFIX, f":{domain}", f"sqlite:{folder}/bridge.db")
    keys.crypto_db.override_pool(database)

    async def noted(event) -> None:
        if event.type == EventType.ROOM_ENCRYPTION:
            await database.execute("INSERT INTO portal VALUES ($1, true) ON CONFLICT DO NOTHING", event.room_id)

    async def member(event) -> None:
        await keys.handle_member_event(event)
        if event.content.membership == Membership.INVITE and event.state_key.startswith(PREFIX):
            await service.intent.user(event.state_key).ensure_joined(event.room_id)
            # Whom it shares its keys with, and whether the room is encrypted, is not told: it was not there.
            for known in await service.intent.get_state(event.room_id):
                await store.update_state(known)
                await noted(known)

    async def encrypted(event) -> None:
        try:
            message = await keys.decrypt(event)
        except DecryptionError as error:
            print(f"cannot read {event.event_id} of {event.sender}: {error}", flush=True)
            return
        content = TextMessageEventContent(msgtype=MessageType.TEXT, body=f"mautrix heard: {message.content.body}")
        kind, content = await keys.encrypt(event.room_id, EventType.ROOM_MESSAGE, content)
        await service.intent.send_message_event(event.room_id, kind, content)

    async def handle(event) -> None:
        if event.type == EventType.ROOM_MEMBER:
            await member(event)
        elif event.type == EventType.ROOM_ENCRYPTED and not event.sender.startswith(PREFIX):
            await encrypted(event)
        await noted(event)

    service.matrix_event_handler(handle)
    await service.start("127.0.0.1", int(port))
    await service.intent.ensure_registered()
    await keys.start()
    service.ready = True
    print(f"ready as {keys.client.device_id}", flush=True)
    await asyncio.Event().wait()


logging.basicConfig(level=logging.INFO)
try:
    asyncio.run(main(*sys.argv[1:]))
except BaseException:
    traceback.print_exc()
    # The thread of its database would go on.
    os._exit(1)
