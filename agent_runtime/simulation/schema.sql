-- The shop and the truth about it. Money is integer US cents, days are ISO dates, JSON is text.
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL UNIQUE,
    address TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'closed')),
    n_password_resets INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS products (
    sku TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    category TEXT NOT NULL,
    price_cents INTEGER NOT NULL CHECK (price_cents > 0),
    final_sale INTEGER NOT NULL DEFAULT 0,
    warranty_years INTEGER NOT NULL DEFAULT 2
);
CREATE TABLE IF NOT EXISTS diagnoses (
    category TEXT NOT NULL,
    words TEXT NOT NULL, -- any of these, separated by a bar, is this symptom
    finding TEXT NOT NULL,
    advice TEXT NOT NULL,
    needs_ticket INTEGER NOT NULL,
    PRIMARY KEY (category, words)
);
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users,
    status TEXT NOT NULL CHECK (status IN ('processing', 'shipped', 'delivered', 'cancelled', 'returned')),
    address TEXT NOT NULL,
    placed_on TEXT NOT NULL,
    delivered_on TEXT,
    late_days INTEGER NOT NULL DEFAULT 0,
    cancel_reason TEXT
);
CREATE INDEX IF NOT EXISTS orders_of_user ON orders (user_id);
CREATE TABLE IF NOT EXISTS order_items (
    item_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders,
    user_id TEXT NOT NULL,
    sku TEXT NOT NULL,
    name TEXT NOT NULL,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    price_cents INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS items_of_order ON order_items (order_id);
CREATE TABLE IF NOT EXISTS payments (
    payment_id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('charge', 'refund')),
    amount_cents INTEGER NOT NULL CHECK (amount_cents > 0),
    item_ids TEXT NOT NULL DEFAULT '[]',
    reason TEXT
);
CREATE INDEX IF NOT EXISTS payments_of_order ON payments (order_id);
CREATE TABLE IF NOT EXISTS discounts (
    discount_id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders,
    user_id TEXT NOT NULL,
    percent INTEGER NOT NULL CHECK (percent BETWEEN 1 AND 100),
    reason TEXT
);
CREATE INDEX IF NOT EXISTS discounts_of_order ON discounts (order_id);
CREATE TABLE IF NOT EXISTS returns (
    return_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders,
    user_id TEXT NOT NULL,
    item_ids TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('open', 'cancelled'))
);
CREATE INDEX IF NOT EXISTS returns_of_order ON returns (order_id);
CREATE TABLE IF NOT EXISTS tickets (
    ticket_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('technical', 'escalation')),
    priority TEXT NOT NULL,
    summary TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS tickets_of_user ON tickets (user_id);
CREATE TABLE IF NOT EXISTS documents (
    doc_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('policy', 'help')),
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    valid_from TEXT NOT NULL,
    valid_until TEXT, -- NULL: valid now
    PRIMARY KEY (doc_id, version)
);
-- A write happens once per key: what it answered is answered again.
CREATE TABLE IF NOT EXISTS effects (
    key TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    tool TEXT NOT NULL,
    args TEXT NOT NULL,
    result TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS effects_of_user ON effects (user_id, number);

-- Which release has which faults, at which rate and seed.
CREATE TABLE IF NOT EXISTS plans (
    release TEXT NOT NULL,
    fault TEXT NOT NULL,
    rate REAL NOT NULL CHECK (rate BETWEEN 0 AND 1),
    seed INTEGER NOT NULL,
    PRIMARY KEY (release, fault)
);
-- One simulated session: what it plays, and the faults that were planted in it.
CREATE TABLE IF NOT EXISTS sessions (
    session_id TEXT PRIMARY KEY,
    release TEXT NOT NULL,
    scenario TEXT NOT NULL,
    persona TEXT NOT NULL,
    user_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    faults TEXT NOT NULL
);
-- What was said and spent, turn by turn; `user` is '' where a turn went on after an approval. USD as decimal text.
CREATE TABLE IF NOT EXISTS turns (
    session_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    trace_id TEXT NOT NULL,
    user TEXT NOT NULL,
    reply TEXT NOT NULL,
    status TEXT NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost_usd TEXT,
    PRIMARY KEY (session_id, number)
);
-- What is known to be true of a session; `passed` is NULL until its goal was checked, `posted_at` until Assay has it.
CREATE TABLE IF NOT EXISTS truth (
    session_id TEXT PRIMARY KEY,
    release TEXT NOT NULL,
    scenario TEXT NOT NULL,
    fault TEXT NOT NULL, -- '' where none was planted
    planted_at TEXT,
    expected_fail INTEGER NOT NULL,
    passed INTEGER,
    reasons TEXT NOT NULL DEFAULT '[]',
    ended_at TEXT,
    due_at TEXT,
    posted_at TEXT
);
CREATE INDEX IF NOT EXISTS truth_due ON truth (posted_at, due_at);
-- The batch of outcomes that is on its way to Assay: begun here, gone when it has arrived.
CREATE TABLE IF NOT EXISTS posting (session_id TEXT PRIMARY KEY);
