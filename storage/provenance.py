"""What a generated picture says of itself: IPTC's digital source type in XMP, and a signed C2PA manifest.

Sources: IPTC Photo Metadata Standard 2023.1 (Iptc4xmpExt:DigitalSourceType); C2PA Technical Specification 2.2
(actions, assertions, certificate profile in 14.5). A picture says it was generated, as Article 50 (2) of Regulation
(EU) 2024/1689 asks, in a form that machines read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from xml.sax.saxutils import escape, quoteattr

from pipeline.errors import ConfigurationError

_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_ASSERTION = "org.vitrine.scene"
_YEARS = 10


def xmp(source: str, alt: Mapping[str, str]) -> bytes:
    """An XMP packet with the digital source type ``source`` and the alternative text by language."""
    told = "".join(
        f'<rdf:li xml:lang="{language}">{escape(words)}</rdf:li>'
        for language, words in [("x-default", alt["en"]), *alt.items()]
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(_SOURCE_TYPES + source)}>"
        f"<Iptc4xmpCore:AltTextAccessibility><rdf:Alt>{told}</rdf:Alt></Iptc4xmpCore:AltTextAccessibility>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a picture comes from: what its manifest names.

    ``source`` is IPTC's digital source type, ``photo`` the SHA-256 of the product's photo, ``facts`` whatever else
    makes the picture reproducible: seed, prompt, preset, certificate.
    """

    source: str
    photo: str
    engine: str
    facts: Mapping[str, Any]

    def manifest(self) -> dict[str, Any]:
        """The manifest's definition."""
        name, _, revision = self.engine.partition("@")
        action = {
            "action": "c2pa.created",
            "digitalSourceType": _SOURCE_TYPES + self.source,
            "softwareAgent": {"name": f"Vitrine {name}", "version": revision},
        }
        scene = {"photo": {"alg": "sha256", "hash": self.photo}, "engine": self.engine, **self.facts}
        return {
            "claim_generator_info": [{"name": "Vitrine"}],
            "title": "scene",
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
                {"label": _ASSERTION, "data": scene},
            ],
        }


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs manifests with a certificate and its key, both PEM; the certificate's chain follows it.

    A manifest of the test certificate is whole and checkable, and readers say that nobody vouches for its signer.
    """

    certificates: bytes
    key: bytes
    algorithm: str = "es256"

    @classmethod
    def read(cls, certificates: Path, key: Path) -> Self:
        """Raises ConfigurationError where a file cannot be read or the two do not fit a C2PA signature."""
        try:
            signer = cls(certificates.read_bytes(), key.read_bytes(), _algorithm(key.read_bytes()))
            signer.sign(_pixel(), "image/png", Origin("compositeSynthetic", "0" * 64, "", {}))
        except Exception as error:
            raise ConfigurationError(
                f"pictures cannot be signed with {certificates} and {key}: {error}; VITRINE_C2PA_CERTIFICATES takes "
                "a PEM file with the certificate and its chain, VITRINE_C2PA_KEY one with its private key"
            ) from error
        return signer

    @classmethod
    def test(cls, folder: Path) -> Self:
        """The test certificate of this installation, made at first use and kept in ``folder``.

        Raises ConfigurationError where it cannot be written.
        """
        file = folder / "test-signer.pem"
        if not file.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                made = file.with_name(f".{file.name}.{os.getpid()}")
                made.touch(mode=0o600)
                made.write_bytes(b"\n".join(_test_certificate()))
                # Whoever comes first wins: of two workers that start together both sign with one certificate.
                with suppress(FileExistsError):
                    os.link(made, file)
                made.unlink()
            except OSError as error:
                raise ConfigurationError(
                    f"no certificate to sign pictures with: {error}; set VITRINE_C2PA_CERTIFICATES and "
                    "VITRINE_C2PA_KEY, or let VITRINE_CACHE name a folder that can be written"
                ) from error
        certificates, marker, key = file.read_bytes().partition(b"-----BEGIN PRIVATE KEY-----")
        return cls(certificates, marker + key)

    def sign(self, picture: bytes, media_type: str, origin: Origin) -> bytes:
        """The same picture with a manifest in it."""
        import c2pa

        info = c2pa.C2paSignerInfo(self.algorithm.encode(), self.certificates, self.key, None)
        signed = io.BytesIO()
        # A thumbnail inside a picture that is small already only makes it larger.
        with (
            c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}}) as context,
            c2pa.Signer.from_info(info) as signer,
            c2pa.Builder(origin.manifest(), context) as builder,
        ):
            builder.sign(signer, media_type, io.BytesIO(picture), signed)
        return signed.getvalue()


def _algorithm(key: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(key, None)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return {256: "es256", 384: "es384", 521: "es512"}[private.curve.key_size]
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    raise ValueError(f"a key of {type(private).__name__} signs no manifest")


def _test_certificate() -> tuple[bytes, bytes, bytes]:
    """A leaf certificate, the root that it hangs on, and the leaf's key: PEM each."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(common: str) -> x509.Name:
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Vitrine test certificate")
        return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("root", "signer")}
    begin = datetime.now(UTC) - timedelta(minutes=5)
    made = {}
    for name, key in keys.items():
        is_root = name == "root"
        usage = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
             "decipher_only"), False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("root"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=365 * _YEARS))
            .add_extension(x509.BasicConstraints(is_root, None), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, **usage
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if not is_root:
            issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(keys["root"].public_key())
            purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(issuer, critical=False).add_extension(purpose, critical=True)
        made[name] = builder.sign(keys["root"], hashes.SHA256()).public_bytes(Encoding.PEM)
    private = keys["signer"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made["signer"], made["root"], private


def _pixel() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "PNG")
    return out.getvalue()
