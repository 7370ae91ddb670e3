"""The tasks that run a connection, and what passes between them.

What a task has to be given crosses in a trio memory channel: a stream's inbox, a connection's events and pushes.
Everything else that a task waits for is in plain state, which it looks at before and after; what wakes it is

- for what happens once, a `trio.Event` that stays set: a connection that is done, a stream that has its ID;
- for what one task waits for again and again, a new `trio.Event` each time it waits, which it leaves where whoever
  changes that state sets it, once or often: the writer's work, a turn;
- for a stream's end, which every request waits for, its task itself, which is rescheduled;
- for what several tasks may wait for at once, a `trio.lowlevel.ParkingLot`: room in the outbox, no stream left.

For how things end there are few words, and each means one thing:

- reset: RST_STREAM was received, or is sent;
- fail: it is over for a reason, which whoever waits on it gets; what came before can still be taken;
- end: nothing more comes, of a message, a connection, or what waits for its user;
- close: this side is done with it, and later calls raise;
- release: nothing of it is used any more, and what it holds is given back;
- withdraw: what waited for its turn waits no more, and nothing of it is done;
- remove: it is taken out of a collection, whatever became of it.
"""
