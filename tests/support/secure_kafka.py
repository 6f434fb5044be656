"""An embedded Kafka with TLS and SASL, and certificates for it."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from streams.embedded.kafka import EmbeddedKafka

USER = "monitor"
PASSWORD = "s3cret-of-the-monitor"


class Certificates:
    """PEM files of an authority, of a server's and a client's certificate, and of a stranger CA."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        authority, stranger = trustme.CA(), trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        client = authority.issue_cert("monitor.example")
        self.ca_file = folder / "ca.pem"
        self.strange_ca_file = folder / "stranger.pem"
        self.server_file = folder / "server.pem"
        self.cert_file = folder / "client.pem"
        self.key_file = folder / "client.key"
        authority.cert_pem.write_to_path(self.ca_file)
        stranger.cert_pem.write_to_path(self.strange_ca_file)
        self.server_file.write_bytes(
            _pkcs8(server.private_key_pem.bytes())
            + b"".join(pem.bytes() for pem in server.cert_chain_pems)
        )
        client.cert_chain_pems[0].write_to_path(self.cert_file)
        client.private_key_pem.write_to_path(self.key_file)


def _pkcs8(pem: bytes) -> bytes:
    """Return a private key as PKCS #8, the only format that Kafka reads."""
    return load_pem_private_key(pem, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


class SecureKafka(EmbeddedKafka):
    """A broker that speaks TLS only: with SASL, or with certificates on both sides."""

    def __init__(self, folder: Path, certificates: Certificates, *, sasl: bool) -> None:
        super().__init__(folder)
        self._certificates = certificates
        self._protocol = "SASL_SSL" if sasl else "SSL"
        if sasl:
            self.format_options = tuple(
                part
                for user, password in (("broker", "of-the-broker"), (USER, PASSWORD))
                for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]")
            )

    def properties(self, *, controller: int) -> str:
        """Return the configuration with its listener changed to TLS."""
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        sasl = (
            "sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512\n"
            "sasl.enabled.mechanisms=SCRAM-SHA-512\n"
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config="
            f'{module} required username="broker" password="of-the-broker";\n'
        )
        return (
            super()
            .properties(controller=controller)
            .replace("PLAINTEXT://", f"{self._protocol}://")
            .replace(",PLAINTEXT:PLAINTEXT", f",{self._protocol}:{self._protocol}")
            + f"inter.broker.listener.name={self._protocol}\n"
            + (sasl if self._protocol == "SASL_SSL" else "ssl.client.auth=required\n")
            + f"ssl.keystore.type=PEM\nssl.keystore.location={self._certificates.server_file}\n"
            + f"ssl.truststore.type=PEM\nssl.truststore.location={self._certificates.ca_file}\n"
        )
