import base64, hashlib, hmac, json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = [base64.b64decode(s.removeprefix("whsec_")) for s in os.environ["EVENTS_SECRET"].split()]
seen = set()  # in production: a table keyed by event ID, kept for some days


def verified(headers, body):
    """Reports whether a request comes from Errand and is not a replay of an old one."""
    event_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent_at.isdigit() or abs(time.time() - int(sent_at)) > 300:
        return False
    signed = f"{event_id}.{sent_at}.".encode() + body
    expected = ["v1," + base64.b64encode(hmac.digest(s, signed, hashlib.sha256)).decode() for s in SECRETS]
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(g.encode(), e.encode()) for g in given for e in expected)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not verified(self.headers, body):
            return self.answer(401)
        event_id = self.headers["webhook-id"]
        if event_id not in seen:
            event = json.loads(body)
            print(event["type"], json.dumps(event["data"]), flush=True)  # hand it over for processing
            seen.add(event_id)
        self.answer(204)  # at once, and also for an event that was accepted before

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8090"))), Receiver)
    print("listening on", server.server_port, flush=True)
    server.serve_forever()
