"""The tasks that run a connection, and what passes between them.

What a task has to be given crosses in a trio memory channel: a stream's inbox, a connection's events and pushes.
Everything else that a task waits for is in plain state, which it looks at before and after; what wakes it is

- for what happens once, a `trio.Event` that stays set: a connection that is done, a stream that has its ID;
- for what one task waits for again and again, a new `trio.Event` each time it waits, which it leaves where whoever
  changes that state sets it, once or often: the writer's work, a stream's end, a turn;
- for what several tasks may wait for at once, a `trio.lowlevel.ParkingLot`: room in the outbox, no stream left.
"""
