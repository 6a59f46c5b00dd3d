-- Indexes for operators' lists of events.

-- What is settled stands in no index of its own: every webhook would write it.
CREATE INDEX webhook_events_by_arrival ON webhook_events (state, received_at, id)
    WHERE state IN ('deferred', 'failed', 'flagged', 'ignored');
-- Those that come with every renewal are so many that whoever wants them finds them among the newest.
CREATE INDEX webhook_events_rarer ON webhook_events (type, received_at, id)
    WHERE type NOT IN ('invoice.paid', 'invoice_payment.paid', 'customer.subscription.updated');
