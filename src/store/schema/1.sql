-- Times are microseconds since 1970 in UTC, durations microseconds.

-- What of a watch survives a restart.
CREATE TABLE watch (
  scope TEXT NOT NULL,
  instance TEXT NOT NULL,
  phase TEXT NOT NULL,
  since INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  started INTEGER NOT NULL,
  overdue_told INTEGER NOT NULL,
  seen INTEGER NOT NULL,
  absent_since INTEGER,
  reason TEXT NOT NULL,
  PRIMARY KEY (scope, instance)
) STRICT, WITHOUT ROWID;

-- What is spent of the calls of one (account, region), so that a restart does not refill it. The
-- calls of the last minute are a list of [how long before `at`, how many].
CREATE TABLE budget (
  name TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  calls TEXT NOT NULL,
  reserved INTEGER NOT NULL,
  held_for INTEGER NOT NULL,
  share REAL NOT NULL
) STRICT, WITHOUT ROWID;

-- Positions follow the order of commits and are never used twice, so that a reader can go on
-- after the last one it saw. The body holds the bytes every receiver gets.
CREATE TABLE event (
  position INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  type TEXT NOT NULL,
  scope TEXT NOT NULL,
  instance TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  time INTEGER NOT NULL,
  body BLOB NOT NULL,
  UNIQUE (scope, instance, sequence)
) STRICT;

-- One (receiver, instance). The counts are kept with every change of a delivery, so that neither
-- looking for what is due nor counting ever reads the deliveries.
CREATE TABLE lane (
  id INTEGER PRIMARY KEY,
  receiver TEXT NOT NULL,
  scope TEXT NOT NULL,
  instance TEXT NOT NULL,
  pending INTEGER NOT NULL CHECK (pending >= 0),
  delivered INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  settled INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  UNIQUE (receiver, scope, instance)
) STRICT;

-- The receiver comes first: one that is not asked for now costs nothing, however much waits there.
CREATE INDEX lane_due ON lane (receiver, next_at) WHERE pending > 0;

CREATE TABLE delivery (
  id INTEGER PRIMARY KEY,
  event INTEGER NOT NULL REFERENCES event (position),
  lane INTEGER NOT NULL REFERENCES lane (id),
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'settled')),
  reason TEXT,
  attempts INTEGER NOT NULL,
  ended INTEGER,
  UNIQUE (event, lane),
  CHECK ((state = 'pending') = (ended IS NULL)),
  CHECK ((state IN ('dead', 'settled')) = (reason IS NOT NULL))
) STRICT;

-- The first entry of a lane is its head.
CREATE INDEX delivery_pending ON delivery (lane, event) WHERE state = 'pending';

-- A log for people, capped; the state of a delivery never depends on it.
CREATE TABLE attempt (
  id INTEGER PRIMARY KEY,
  delivery INTEGER NOT NULL REFERENCES delivery (id),
  started INTEGER NOT NULL,
  duration INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  result TEXT NOT NULL
) STRICT;

CREATE INDEX attempt_of_delivery ON attempt (delivery, id);
