"""Pictures with C2PA manifests, signed by a certificate that is made here."""

from __future__ import annotations

import io
from datetime import datetime
from functools import cache
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SINCE, _UNTIL = datetime(2025, 1, 1), datetime(2049, 1, 1)
_CREATED = {
    "label": "c2pa.actions.v2",
    "data": {
        "actions": [
            {
                "action": "c2pa.created",
                "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
            }
        ]
    },
}


def training_mining(label: str, **uses: str) -> dict[str, Any]:
    """A training and data mining assertion of a label (`c2pa` or `cawg`), by the names of its entries."""
    entries = {
        f"{label}.{name}": {"use": use, **({"constraint_info": "ask Ann"} if use == "constrained" else {})}
        for name, use in uses.items()
    }
    return {"label": f"{label}.training-mining", "data": {"entries": entries}}


def author(name: str) -> dict[str, Any]:
    """An assertion that names the author."""
    data = {
        "@context": "https://schema.org",
        "@type": "CreativeWork",
        "author": [{"@type": "Person", "name": name}],
    }
    return {"label": "stds.schema-org.CreativeWork", "data": data}


def signed(encoded: bytes, container: str, *assertions: dict[str, Any], is_edit: bool = False) -> bytes:
    """The picture with a signed manifest; that of an edit has the picture's own manifest as its parent."""
    settings = {"builder": {"thumbnail": {"enabled": False}}}
    manifest = {
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "assertions": [*([] if is_edit else [_CREATED]), *assertions],
    }
    builder = c2pa.Builder(manifest, context=c2pa.Context(c2pa.Settings.from_dict(settings)))
    if is_edit:
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    target = io.BytesIO()
    builder.sign(_signer(), f"image/{container.lower()}", io.BytesIO(encoded), target)
    return target.getvalue()


@cache
def _signer() -> Any:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("root", root_key, "root", root_key, is_authority=True)
    leaf = _certificate("signer", key, "root", root_key, is_authority=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain = leaf.public_bytes(pem) + root.public_bytes(pem)
    return c2pa.Signer.from_info(c2pa.C2paSignerInfo(c2pa.C2paSigningAlg.ES256, chain, private, None))


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    usage = {
        **dict.fromkeys(("digital_signature", "content_commitment"), not is_authority),
        **dict.fromkeys(("key_cert_sign", "crl_sign"), is_authority),
        **dict.fromkeys(("key_encipherment", "data_encipherment", "key_agreement"), False),
        **dict.fromkeys(("encipher_only", "decipher_only"), False),
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_SINCE)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
        ).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    return builder.sign(issuer_key, hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
