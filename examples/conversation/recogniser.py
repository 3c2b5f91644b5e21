"""Recognises utterances. Each comes on standard input as its length in bytes (32 bits, little-endian) and its
samples (16-bit PCM, 16 kHz, mono); each is answered on standard output with a line of JSON."""

import json
import signal
import struct
import sys

from pocketsphinx import Decoder

signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for Node, which ends our input

# The model of US English that the package brings. Narrower searches are faster and understand less.
decoder = Decoder(loglevel="FATAL")

while header := sys.stdin.buffer.read(4):
    (length,) = struct.unpack("<I", header)
    samples = sys.stdin.buffer.read(length)
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    print(json.dumps({"text": hypothesis.hypstr if hypothesis else ""}), flush=True)
