package main

import (
	"encoding/binary"
	"io"

	"github.com/libp2p/go-libp2p/core/network"
)

func serveEcho(s network.Stream) {
	buf := make([]byte, chunkSize)
	if _, err := io.CopyBuffer(struct{ io.Writer }{s}, struct{ io.Reader }{s}, buf); err != nil {
		s.Reset()
		return
	}
	s.Close()
}

func servePerf(s network.Stream) {
	if err := answerPerf(s); err != nil {
		s.Reset()
		return
	}
	s.Close()
}

func answerPerf(s network.Stream) error {
	var wanted [8]byte
	if _, err := io.ReadFull(s, wanted[:]); err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, buf); err != nil {
		return err
	}
	return send(s, binary.BigEndian.Uint64(wanted[:]))
}

// send writes that many bytes of nothing in particular, 64 KiB at a time.
func send(w io.Writer, length uint64) error {
	buf := make([]byte, chunkSize)
	for length > 0 {
		n, err := w.Write(buf[:min(length, chunkSize)])
		if err != nil {
			return err
		}
		length -= uint64(n)
	}
	return nil
}
