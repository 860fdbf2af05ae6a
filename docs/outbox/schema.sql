-- The outbox: tasks that the application has decided on and that are not in Redis yet.
create table if not exists outbox (
  id      uuid primary key default gen_random_uuid(), -- the task's key: never used again
  created timestamptz not null default now(),
  type    text not null,
  payload json not null, -- not jsonb, which changes numbers and the order of fields
  refused text           -- why the task can never be enqueued; somebody has to look at it
);
create index if not exists outbox_next on outbox (created) where refused is null;
