-- What it was for, webhook_events_by_arrival (0012) answers too. By itself, so that nobody reads without either.

DROP INDEX webhook_events_unsettled;
