"""What is looked at before runs of somebody else's enter a table: rules for a folder of records, and two tiers above.

``reading`` has a submission's runs, ``rules`` all rules by name, ``grid``, ``settings``, ``results`` and ``data`` hold
them, ``reevaluation`` and ``reproduction`` run policies and commands again.
"""
