"""A broker behind a network connection that can be cut."""

from __future__ import annotations

from streams.embedded.kafka import EmbeddedKafka
from tests.support.forwarder import Forwarder


class NetworkedKafka(EmbeddedKafka):
    """A broker with a second listener, which is reached through a forwarder that can be cut."""

    network: Forwarder

    def properties(self, *, controller: int) -> str:
        """Return the configuration with a further listener behind the forwarder."""
        network = self.network
        return (
            super()
            .properties(controller=controller)
            .replace("\nadvertised", f",NETWORK://127.0.0.1:{network.target}\nadvertised", 1)
            .replace(
                f"advertised.listeners=PLAINTEXT://{self.address}",
                f"advertised.listeners=PLAINTEXT://{self.address},NETWORK://{network.address}",
            )
            .replace(",PLAINTEXT:PLAINTEXT", ",PLAINTEXT:PLAINTEXT,NETWORK:PLAINTEXT")
            + "inter.broker.listener.name=PLAINTEXT\n"
        )
